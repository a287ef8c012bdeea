package jobs

import (
	"reflect"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// A listing since an instant has what was accepted then or later, also when the
// instant is one that no count of nanoseconds can hold.
func TestListSince(t *testing.T) {
	b := New(store.Retention{})
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, op := range []store.Op{store.OpAccept, store.OpDone} {
		id := ulid.Make()
		if _, err := b.Apply(store.Record{Op: op, ID: id, Job: &store.Job{ID: id, State: ipc.Queued, CreatedAt: at.UnixNano()}}); err != nil {
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

// A job is the same whether it came into the history just now or long ago, and
// so is the room that it takes.
func TestFresh(t *testing.T) {
	b := New(store.Retention{})
	var ids []ulid.ULID
	for range maxFresh + 2 {
		id := ulid.Make()
		ids = append(ids, id)
		if _, err := b.Apply(store.Record{Op: store.OpAccept, ID: id, Job: &store.Job{ID: id, Dispatcher: "op", State: ipc.Queued, CreatedAt: 1}}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Apply(store.Record{Op: store.OpEnd, ID: id, State: ipc.Canceled, Run: &store.Outcome{EndedAt: 2}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.fresh) != 2 {
		t.Errorf("%d are not encoded", len(b.fresh))
	}
	fresh, _ := b.Job(ids[maxFresh])
	b.Forget(ids[maxFresh+1])
	b.Prune(time.Now())
	old, _ := b.Job(ids[maxFresh])
	if fresh.Seq = 0; !reflect.DeepEqual(fresh, old) {
		t.Errorf("fresh %+v, encoded %+v", fresh, old)
	}
	room := int64(0)
	for _, e := range b.history {
		room += int64(len(e.raw))
	}
	if len(b.history) != maxFresh+1 || room != b.bytes || room < int64(len(b.history))*50 {
		t.Errorf("%d jobs in %d bytes, counted %d", len(b.history), room, b.bytes)
	}
}
