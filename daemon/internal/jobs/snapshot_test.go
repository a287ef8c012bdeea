package jobs

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// again replays a snapshot.
func again(t *rapid.T, snap store.Snapshot) *State {
	s := New(store.Retention{})
	apply := func(r store.Record) {
		if err := s.Replay().Apply(r); err != nil {
			t.Fatalf("replay of %s: %v", r.Op, err)
		}
	}
	for _, e := range snap.Ended {
		var j store.Job
		if err := json.Unmarshal(e.Raw, &j); err != nil {
			t.Fatal(err)
		}
		apply(store.Record{Op: store.OpDone, ID: e.ID, Extra: store.Extra{Lived: e.Lived}, Job: &j})
	}
	for _, name := range snap.Paused {
		apply(store.Record{Op: store.OpPause, Dispatcher: name})
	}
	for k, v := range snap.Keys {
		apply(store.Record{Op: store.OpKey, ID: v.Job, At: v.At, Extra: store.Extra{Lived: v.Lived}, Dispatcher: k.Dispatcher, Key: k.Key, KeyUID: k.UID, ArgHash: v.Hash})
	}
	for name, c := range snap.Cursors {
		apply(store.Record{Op: store.OpCursor, Dispatcher: name, Cursor: &c})
	}
	for _, j := range snap.Open {
		apply(store.Record{Op: store.OpAccept, ID: j.ID, Job: j})
	}
	return s
}

// walk makes records that fit, one after the other.
type walk struct {
	*rapid.T
	d    *desk
	open []ulid.ULID
}

func (w *walk) pick(name string, n int) int { return rapid.IntRange(0, n-1).Draw(w.T, name) }

// record makes the next record.
func (w *walk) record() store.Record {
	name := fmt.Sprintf("d%d", w.pick("dispatcher", 3))
	cursor := &store.Cursor{Due: int64(w.pick("due", 100)), Plan: "daily"}
	what := w.pick("what", 9)
	if len(w.open) == 0 && what > 3 {
		what = 0
	}
	switch what {
	case 0, 1:
		r := w.d.accept(name)
		r.Key, r.ArgHash = []string{"", "k1", "k2"}[w.pick("key", 3)], "h"
		if w.pick("scheduled", 3) == 0 {
			r.Cursor = cursor
		}
		w.open = append(w.open, r.ID)
		return r
	case 2:
		return store.Record{Op: []store.Op{store.OpPause, store.OpResume}[w.pick("paused", 2)], Dispatcher: name}
	case 3:
		return store.Record{Op: store.OpCursor, Dispatcher: name, Cursor: cursor}
	}
	i := w.pick("job", len(w.open))
	id := w.open[i]
	switch what {
	case 4:
		return store.Record{Op: store.OpJoin, ID: id, By: &ipc.Notifier{Peer: ipc.Peer{UID: what}}, Key: []string{"", "k3"}[w.pick("key", 2)]}
	case 5, 6:
		return start(id)
	case 7:
		return store.Record{Op: store.OpRequeue, ID: id, Attempt: 1, Run: &store.Outcome{StartedAt: 1, EndedAt: 2}}
	}
	w.open = append(w.open[:i:i], w.open[i+1:]...)
	return end(id, ipc.States()[2+w.pick("state", 6)])
}

// Whatever was applied: the snapshot replayed is the state, and so are the
// records replayed.
func TestReplayIsTheState(t *testing.T) {
	same := []cmp.Option{cmpopts.IgnoreFields(store.Job{}, "Seq"), cmpopts.EquateEmpty(), cmp.Comparer(func(a, b store.Ended) bool {
		return a.ID == b.ID && a.Lived == b.Lived && string(a.Raw) == string(b.Raw)
	})}
	rapid.Check(t, func(t *rapid.T) {
		w := &walk{T: t, d: newDesk(t)}
		records := New(store.Retention{})
		for range rapid.IntRange(1, 60).Draw(t, "records") {
			r := w.record()
			w.d.apply(r)
			if w.pick("answer", 2) == 0 {
				w.d.answer(nil)
			}
			if err := records.Replay().Apply(r); err != nil {
				t.Fatalf("replay of %s: %v", r.Op, err)
			}
		}
		want := w.d.Snapshot()
		for name, s := range map[string]*State{"snapshot": again(t, want), "records": records} {
			if diff := cmp.Diff(want, s.Snapshot(), same...); diff != "" {
				t.Fatalf("%s (-state +replayed):\n%s", name, diff)
			}
			if s.OpenCount() != w.d.OpenCount() || s.History() != w.d.History() || s.lastID != w.d.lastID || s.Undurable() != 0 {
				t.Fatalf("%s: %d open, %d ended", name, s.OpenCount(), s.History())
			}
			w.compareLists(s)
		}
	})
}

// compareLists wants the same jobs in lists, and the same ones running.
func (w *walk) compareLists(s *State) {
	for _, f := range []ipc.JobFilter{{}, {State: ipc.Running}, {Dispatcher: "d1"}} {
		mine, other := w.d.List(f), s.List(f)
		if len(mine) != len(other) {
			w.Fatalf("%+v: %d and %d jobs", f, len(mine), len(other))
		}
		for i := range mine {
			if mine[i].ID() != other[i].ID() || mine[i].State().State != other[i].State().State {
				w.Fatalf("%+v: %s and %s", f, mine[i].ID(), other[i].ID())
			}
		}
	}
	for x := range w.d.Dispatchers() {
		running, open := 0, 0
		for j := range w.d.Open() {
			if j.Dispatcher == x {
				open++
				if j.State().State == ipc.Running {
					running++
				}
			}
		}
		y := s.Dispatcher(x.Name)
		if y == nil { // all that it had is ended jobs
			y = &Dispatcher{}
		}
		if len(x.Running) != running || len(y.Running) != running || x.open != open || y.open != open {
			w.Fatalf("%s: %d running, %d open, counted %d, %d; replayed %d, %d", x.Name, running, open, len(x.Running), x.open, len(y.Running), y.open)
		}
	}
}

// Open jobs in memory alone are in the snapshot of an upgrade, and in no other.
func TestVolatile(t *testing.T) {
	d := newDesk(t)
	rec := d.accept("op")
	rec.Job.Volatile, rec.Key = true, "k"
	d.apply(rec)
	kept := d.accepted("op")
	whole := d.Snapshot()
	if rest := whole.WithoutVolatile(); len(whole.Open) != 2 || len(whole.Keys) != 1 || len(rest.Open) != 1 || rest.Open[0].ID != kept.ID() || len(rest.Keys) != 0 {
		t.Errorf("%+v", rest)
	}
	if len(whole.Open) != 2 || len(whole.Keys) != 1 {
		t.Error("the whole snapshot has changed")
	}
}

// A snapshot does not change with the state.
func TestSnapshotStays(t *testing.T) {
	d := newDesk(t)
	j := d.accepted("op")
	snap := d.Snapshot()
	d.apply(start(j.ID()))
	d.apply(end(j.ID(), ipc.Succeeded))
	d.accepted("op")
	d.Prune(time.Hour)
	if len(snap.Open) != 1 || snap.Open[0].State != ipc.Queued || len(snap.Ended) != 0 {
		t.Errorf("%+v", snap)
	}
}
