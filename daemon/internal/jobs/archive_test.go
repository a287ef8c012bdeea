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
		if _, err := b.Apply(store.Record{Op: store.OpDone, ID: j.ID, Extra: store.Extra{Lived: 1000}, Job: j}); err != nil {
			t.Fatal(err)
		}
		gone = append(gone, b.Prune(1000*time.Second)...)
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
	if c := cap(b.archive.jobs); c > 4*bound {
		t.Errorf("room for %d jobs is kept, the bound is %d", c, bound)
	}
}

// The bytes of a history bound it as well, and each job counts once, also one
// that comes in again.
func TestPruneByBytesAndAge(t *testing.T) {
	b := New(store.Retention{Bytes: 1000})
	endAll(t, b, 0, 20)
	room := int64(0)
	for _, e := range b.archive.jobs {
		room += int64(len(e.raw))
	}
	if room != b.archive.bytes || room > 1000 || room < 800 || b.dispatchers["op"].kept.bytes != room {
		t.Errorf("%d jobs in %d bytes, counted %d", b.History(), room, b.archive.bytes)
	}
	old := b.archive.jobs[0]
	b.archive.add(old.job(), old.dispatcher, old.lived)
	if b.archive.bytes != room {
		t.Errorf("added again: %d bytes instead of %d", b.archive.bytes, room)
	}
	b.archive.keep = store.Retention{Age: time.Hour}
	at := 1000*time.Second + time.Hour
	if gone := b.Prune(at); len(gone) != 0 {
		t.Errorf("%d are too old", len(gone))
	}
	if b.Prune(at + time.Hour/slackPart); b.History() != 0 || b.archive.bytes != 0 {
		t.Errorf("%d left, %d bytes", b.History(), b.archive.bytes)
	}
}

// An entry that cannot be decoded still says which job it was.
func TestArchivedUnreadable(t *testing.T) {
	b := New(store.Retention{})
	endAll(t, b, 0, 1)
	b.archive.jobs[0].raw = []byte("{")
	if j, ok := b.Job(numbered(0)); !ok || j.State().State != ipc.Succeeded || j.Dispatcher.Name != "op" {
		t.Errorf("%+v", j)
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
