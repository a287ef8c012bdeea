package dispatchers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"dispatchd/dispatchers"
)

// Renew is what a notify of renew-certificate brings as arguments.
type Renew struct {
	Certificate string `json:"certificate"`
}

// Renewed is the result, shown in the job.
type Renewed struct {
	ValidUntil string `json:"valid_until"`
}

// renewCertificate is the operation: a plain function with typed arguments.
func renewCertificate(ctx context.Context, args Renew) (Renewed, error) {
	if err := ctx.Err(); err != nil {
		return Renewed{}, err // the job was told to stop
	}
	return Renewed{ValidUntil: "2027-01-01"}, nil
}

// A program brings its own dispatchers: it registers functions on a set, lets
// Main run one of them when the process was started as a job's child, and gives
// the set to the daemon else (daemon.Config has a field Functions). Files of the
// same name may tune what the program has set.
func Example() {
	set := dispatchers.NewSet()
	dispatchers.Register(set, "renew-certificate", renewCertificate, func(s *dispatchers.Spec) {
		s.Description = "renews one certificate"
		s.Timeout = 2 * time.Minute
		s.Exclusive = []string{"cert:{certificate}"}
		s.Coalesce = true
	})
	if set.Main() {
		return // this process was a job's child
	}

	catalog := dispatchers.Load(dispatchers.Options{Functions: set})
	spec := catalog.Specs["renew-certificate"]
	locks, err := spec.Locks(json.RawMessage(`{"certificate":"web"}`))
	fmt.Println(catalog.Names(), spec.Origin, spec.QueueTimeout)
	fmt.Println(locks, err)
	// Output:
	// [renew-certificate] go 2m0s
	// [{cert:web false}] <nil>
}
