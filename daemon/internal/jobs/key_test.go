package jobs

import (
	"testing"
	"time"

	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// A repeated key waits for the record that brought it, an acceptance or a join.
func TestKeyGate(t *testing.T) {
	for _, joins := range []bool{false, true} {
		d := newDesk(t)
		rec := d.accept("op")
		if joins {
			d.apply(rec)
			d.flush()
			rec = store.Record{Op: store.OpJoin, ID: rec.ID}
		}
		rec.Key, rec.KeyUID, rec.ArgHash = "k", 7, "h"
		d.apply(rec)
		k, ok := d.Key(store.Key{UID: 7, Dispatcher: "op", Key: "k"})
		if !ok || k.Job != rec.ID || k.Hash != "h" {
			t.Fatalf("%+v", k)
		}
		// The start of the job is nothing to the key.
		d.apply(start(rec.ID))
		if k.Gate().Phase() != durable.Writing {
			t.Error("the key is told before it is durable")
		}
		d.answer(nil)
		if k.Gate().Phase() != durable.Durable || k.gate != nil {
			t.Errorf("a durable key keeps its gate: %v", k.gate)
		}
		if _, other := d.Key(store.Key{UID: 8, Dispatcher: "op", Key: "k"}); other {
			t.Error("another user has the key")
		}
	}
}

// A key whose record a full disk refused is not told of before a whole journal
// has it.
func TestKeyThatFails(t *testing.T) {
	d := newDesk(t)
	j := d.accepted("op")
	d.apply(store.Record{Op: store.OpJoin, ID: j.ID(), Key: "k"})
	d.answer(errDisk)
	k, _ := d.Key(store.Key{Dispatcher: "op", Key: "k"})
	if k.Gate().Phase() != durable.Failed {
		t.Error(k.Gate().Phase())
	}
	d.saved()
	if k.Gate().Phase() != durable.Durable {
		t.Error(k.Gate().Phase())
	}
}

// A key is kept for 25 hours of the store's timeline, whatever the wall clock
// says, and for as long as its job.
func TestKeysArePruned(t *testing.T) {
	d := newDesk(t)
	d.archive.keep.Age = time.Hour
	for n, key := range []string{"open", "short", "ended"} {
		rec := d.accept("op")
		rec.Key, rec.Lived = key, int64(60*n)
		rec.At = now().AddDate(10*(n-1), 0, 0).UnixNano() // the clock is set each time
		d.apply(rec)
		if key != "open" {
			d.apply(end(rec.ID, ipc.Canceled))
		}
	}
	d.flush()
	left := func(at time.Duration) int {
		d.Prune(at)
		_, all := d.Held()
		if of := d.Dispatcher("op").Keys(); of != all {
			t.Errorf("counted %d keys of one, %d of all", of, all)
		}
		return all
	}
	if n := left(2 * time.Hour); n != 3 || d.History() != 0 {
		t.Errorf("%d keys after the history forgot their jobs", n)
	}
	if n := left(25*time.Hour + 90*time.Second); n != 2 {
		t.Errorf("%d keys after a day, want that of the open job and the young one", n)
	}
	if n := left(25*time.Hour + 200*time.Second); n != 2 {
		t.Errorf("%d keys: all are looked at each ten minutes, not each time", n)
	}
	if n := left(26 * time.Hour); n != 1 {
		t.Errorf("%d keys, want that of the open job", n)
	}
}
