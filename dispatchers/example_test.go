package dispatchers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"dispatchd/daemon"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/client"
)

// Renew is what a notify of renew-certificate brings as arguments.
type Renew struct {
	Certificate string `json:"certificate"`
}

// Renewed is the result, kept with the job.
type Renewed struct {
	Certificate string `json:"certificate"`
	Process     int    `json:"process"`
}

// renewCertificate is the operation: a plain function with typed arguments. It
// runs in a process of its own, so it may leak, block or crash.
func renewCertificate(ctx context.Context, args Renew) (Renewed, error) {
	fmt.Println("renewing", args.Certificate) // the job's output
	if args.Certificate == "revoked" {
		return Renewed{}, errors.New("the authority refuses it")
	}
	return Renewed{Certificate: args.Certificate, Process: os.Getpid()}, ctx.Err()
}

// functions are the dispatchers that the program brings.
func functions() *dispatchers.Set {
	set := dispatchers.NewSet()
	dispatchers.Register(set, "renew-certificate", renewCertificate, func(s *dispatchers.Spec) {
		s.Description = "renews one certificate"
		s.Timeout = 2 * time.Minute
		s.Exclusive = []string{"cert:{certificate}"}
	})
	return set
}

// begin is what the program does first in main. The daemon starts the program
// itself for each job: as the small supervisor that lets the job outlive the
// daemon, and below it as the job. Neither comes back from here.
func begin(set *dispatchers.Set) {
	if len(os.Args) > 1 && os.Args[1] == "shim" {
		os.Exit(daemon.RunShim())
	}
	set.Main()
}

// serve runs the daemon with the functions of a set until stop is called.
func serve(set *dispatchers.Set, paths ipc.Paths) (stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Config{
			Paths: paths, Functions: set, Shim: []string{self, "shim"},
			Log: slog.New(slog.DiscardHandler), Ready: func() { close(ready) },
		})
	}()
	select {
	case <-ready:
		return func() error { cancel(); return <-ended }, nil
	case err := <-ended:
		cancel()
		return nil, err
	}
}

// A program brings its own dispatchers: it registers typed functions on a set
// and runs the daemon with it. Each run of a function is a supervised child, the
// program itself started again, under the same queue, locks and timeout as any
// command. Files of the same name tune what the program has set.
func Example() {
	set := functions()
	begin(set)
	root, err := os.MkdirTemp("", "example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(root) }()
	paths := ipc.RootPaths(root)
	stop, err := serve(set, paths)
	if err != nil {
		fmt.Println(err)
		return
	}
	c := &client.Client{Socket: paths.Socket()}
	for _, arguments := range []string{`{"certificate":"web"}`, `{"certificate":"revoked"}`, `{"certificate":5}`} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		n, err := c.Notify(ctx, ipc.NotifyRequest{Dispatcher: "renew-certificate", Arguments: json.RawMessage(arguments)})
		if err != nil {
			fmt.Println(err)
		}
		job, err := c.Await(ctx, n.ID)
		cancel()
		if err != nil {
			fmt.Println(err)
		}
		fmt.Println(job.State, outcome(job))
	}
	fmt.Println("stopped:", stop())
	// Output:
	// succeeded web, in a process of its own: true
	// failed exit status 1
	// failed exit status 1
	// stopped: <nil>
}

// outcome is the result of a job in the type that its function gave it, or why
// there is none.
func outcome(job ipc.Job) string {
	if job.Error != nil {
		return job.Error.Message
	}
	var r Renewed
	if err := json.Unmarshal(job.Result, &r); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s, in a process of its own: %t", r.Certificate, r.Process > 1 && r.Process != os.Getpid())
}
