package store

import (
	"errors"
	"testing"

	"github.com/oklog/ulid/v2"

	"dispatchd/ipc"
)

// Whatever a line is, it is a record or a bad line.
func FuzzDecodeLine(f *testing.F) {
	id := ulid.MustParse("01ARZ3NDEKTSV4RRFFQ69G5FAV")
	for _, r := range []Record{
		{Op: opHead, head: head{Format: format, Store: id.String(), Base: 9}},
		{Op: OpAccept, ID: id, At: 1, Job: &Job{ID: id, Dispatcher: "op", State: ipc.Queued, Arguments: []byte(`{"a":1}`)}},
		{Op: OpStart, ID: id, At: 2, Attempt: 1},
		{Op: OpEnd, ID: id, At: 3, State: ipc.Succeeded, Run: &Outcome{StartedAt: 2, EndedAt: 3, ExitCode: new(0)}},
		{Op: OpPause, Dispatcher: "op"},
	} {
		line, err := appendLine(nil, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line[:len(line)-1])
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if _, err := decodeLine(line); err != nil && !errors.Is(err, errBadLine) {
			t.Error(err)
		}
	})
}
