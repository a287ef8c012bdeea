package store

import (
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/ipc"
)

// A listing since an instant has what was accepted then or later, also when the
// instant is one that no count of nanoseconds can hold.
func TestListSince(t *testing.T) {
	b := NewBook(Retention{})
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, op := range []Op{OpAccept, opDone} {
		id := ulid.Make()
		if _, err := b.Apply(Record{Op: op, ID: id, Job: &Job{ID: id, State: ipc.Queued, CreatedAt: at.UnixNano()}}); err != nil {
			t.Fatal(err)
		}
	}
	for since, want := range map[time.Time]int{
		{}: 2, at.Add(-time.Second): 2, at: 2, at.Add(time.Nanosecond): 0,
		time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC): 2, time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC): 0,
	} {
		if got := len(b.List(ipc.JobFilter{Since: since})); got != want {
			t.Errorf("since %s: %d jobs, want %d", since, got, want)
		}
	}
}
