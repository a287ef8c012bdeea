package jobs

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// numbered is the id of the n-th job.
func numbered(n int) (id ulid.ULID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

// endAll files jobs as ended, and prunes after each as the daemon does.
func endAll(t testing.TB, b *State, from, to int) (gone []ulid.ULID) {
	t.Helper()
	now := time.Unix(1_800_000_000, 0)
	for n := from; n < to; n++ {
		j := &store.Job{ID: numbered(n), Dispatcher: "op", State: ipc.Succeeded, CreatedAt: now.UnixNano(), Run: &store.Outcome{EndedAt: now.UnixNano()}}
		if _, err := b.Apply(store.Record{Op: store.OpDone, ID: j.ID, Job: j}); err != nil {
			t.Fatal(err)
		}
		gone = append(gone, b.Prune(now)...)
	}
	return gone
}

// A history at its bound keeps the newest, tells what it forgot in order, and
// does not keep the memory of what is gone.
func TestPruneKeepsTheNewest(t *testing.T) {
	const bound, ends = 50, 10_000
	b := New(store.Retention{Count: bound})
	gone := endAll(t, b, 0, ends)
	if len(gone) != ends-bound || b.History() != bound {
		t.Fatalf("%d forgotten and %d kept, want %d and %d", len(gone), b.History(), ends-bound, bound)
	}
	for n, id := range gone {
		if id != numbered(n) {
			t.Fatalf("forgotten %s as the %d-th, want %s", id, n, numbered(n))
		}
	}
	for n := ends - bound; n < ends; n++ {
		if _, ok := b.Job(numbered(n)); !ok {
			t.Errorf("job %d is not known any more", n)
		}
	}
	if _, ok := b.Job(numbered(ends - bound - 1)); ok {
		t.Error("a job beyond the bound is still known")
	}
	if c := cap(b.history); c > 4*bound {
		t.Errorf("room for %d jobs is kept, the bound is %d", c, bound)
	}
}

// One job's end costs the same however long the history is.
func BenchmarkEndAtBound(b *testing.B) {
	book := New(store.Retention{Count: 10_000})
	endAll(b, book, 0, 10_000)
	n := 10_000
	for b.Loop() {
		endAll(b, book, n, n+1)
		n++
	}
}
