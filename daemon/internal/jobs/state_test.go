package jobs

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// now is an instant that ids and jobs may have.
func now() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }

// Nobody is told of an end that is not durable; then those who wait are, the
// dispatcher has its last job, and the archive alone keeps it.
func TestEndIsToldWhenDurable(t *testing.T) {
	d := newDesk(t)
	j := d.accepted("op")
	d.apply(start(j.ID()))
	d.flush()
	waiting := j.AwaitEnd()
	d.apply(end(j.ID(), ipc.Succeeded))
	if j.State().State != ipc.Succeeded || j.Told().State != ipc.Running || !j.Undecided() {
		t.Errorf("state %s, told %s, undecided %v", j.State().State, j.Told().State, j.Undecided())
	}
	if over(waiting) || !j.Awaited() || d.OpenCount() != 0 || d.Undurable() != 1 || j.Dispatcher.Last.ID != "" {
		t.Errorf("over %v, open %d, not durable %d, last %v", over(waiting), d.OpenCount(), d.Undurable(), j.Dispatcher.Last)
	}
	if again := d.must(j.ID()); again != j {
		t.Error("the job has two objects while its end is on its way")
	}
	d.flush()
	if !over(waiting) || j.Told().State != ipc.Succeeded || j.Undecided() || d.Undurable() != 0 {
		t.Errorf("over %v, told %s", over(waiting), j.Told().State)
	}
	if want := (LastJob{j.ID().String(), ipc.Succeeded, 3}); j.Dispatcher.Last != want {
		t.Errorf("last %v", j.Dispatcher.Last)
	}
	kept := d.must(j.ID())
	if kept == j || kept.State().State != ipc.Succeeded || !over(kept.AwaitEnd()) || kept.Gate().Phase() != durable.Durable {
		t.Errorf("archived: %+v", kept.State())
	}
}

// An end that could not be written is told with the next whole journal. Nobody
// waits at the gate meanwhile.
func TestEndThatFails(t *testing.T) {
	d := newDesk(t)
	j := d.accepted("op")
	d.apply(end(j.ID(), ipc.Canceled))
	waiting := j.AwaitEnd()
	d.answer(errDisk)
	if j.Undecided() || j.Told().State != ipc.Queued || over(waiting) || d.Undurable() != 1 {
		t.Errorf("undecided %v, told %s, over %v", j.Undecided(), j.Told().State, over(waiting))
	}
	d.saved()
	if j.Told().State != ipc.Canceled || !over(waiting) || d.Undurable() != 0 {
		t.Errorf("told %s, over %v", j.Told().State, over(waiting))
	}
}

// A start that is on its way keeps nobody waiting: it is told at once.
func TestStartIsToldAtOnce(t *testing.T) {
	d := newDesk(t)
	j := d.apply(d.accept("op"))
	d.apply(start(j.ID()))
	if j.Undecided() || j.Told().State != ipc.Running || j.Gate().Phase() != durable.Writing {
		t.Errorf("undecided %v, told %s", j.Undecided(), j.Told().State)
	}
	if _, running := j.Dispatcher.Running[j]; !running {
		t.Error("the dispatcher does not know that it runs")
	}
}

// What was withdrawn was never there, whatever it has come to meanwhile.
func TestWithdraw(t *testing.T) {
	for name, then := range map[string]func(ulid.ULID) []store.Record{
		"queued":  func(ulid.ULID) []store.Record { return nil },
		"running": func(id ulid.ULID) []store.Record { return []store.Record{start(id)} },
		"ended":   func(id ulid.ULID) []store.Record { return []store.Record{start(id), end(id, ipc.Failed)} },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			var seen []Event
			d.Subscribe(func(e Event) { seen = append(seen, e) })
			other := d.accepted("op")
			rec := d.accept("op")
			rec.Key, rec.ArgHash = "k", "h"
			j := d.apply(rec)
			for _, r := range then(j.ID()) {
				d.apply(r)
			}
			waiting := j.AwaitEnd()
			for len(d.writing) > 0 {
				d.answer(errDisk)
			}
			d.Withdraw(j.ID())
			d.Withdraw(j.ID()) // once more changes nothing
			if _, known := d.Job(j.ID()); known || !over(waiting) || d.OpenCount() != 1 || d.History() != 0 || d.Undurable() != 0 {
				t.Errorf("known %v, over %v, open %d, history %d", known, over(waiting), d.OpenCount(), d.History())
			}
			if !over(j.AwaitEnd()) {
				t.Error("who asks later waits for ever")
			}
			if _, known := d.Key(store.Key{Dispatcher: "op", Key: "k"}); known || len(j.Dispatcher.Running) > 0 {
				t.Errorf("its key is known: %v, running %d", known, len(j.Dispatcher.Running))
			}
			d.saved() // does not bring it back
			if d.History() != 0 || j.Dispatcher.Last.ID != "" || len(seen) != 1 || seen[0].After.ID != other.ID() {
				t.Errorf("history %d, last %v, events %v", d.History(), j.Dispatcher.Last, seen)
			}
		})
	}
}

// A start that could not be journaled is taken back; the job is what it was.
func TestRevertStart(t *testing.T) {
	d := newDesk(t)
	j := d.accepted("op")
	d.apply(start(j.ID()))
	d.answer(errDisk)
	if _, err := d.Revert(store.Record{Op: store.OpRequeue, ID: j.ID()}); err != nil {
		t.Fatal(err)
	}
	if j.State().State != ipc.Queued || j.State().Attempt != 0 || len(j.Dispatcher.Running) > 0 {
		t.Errorf("%+v", j.State())
	}
	d.saved()
	d.apply(start(j.ID()))
	d.flush()
	if j.Told().State != ipc.Running {
		t.Error(j.Told().State)
	}
}

// Records that do not fit change nothing.
func TestUnfit(t *testing.T) {
	d := newDesk(t)
	rec := d.accept("op")
	j := d.apply(rec)
	ended := d.accepted("op").ID()
	d.apply(end(ended, ipc.Canceled))
	for name, r := range map[string]store.Record{
		"not known":      start(numbered(1)),
		"ended":          start(ended),
		"accepted twice": rec,
		"without a job":  {Op: store.OpAccept, ID: numbered(2)},
		"newer":          {Op: "adopt", ID: j.ID()},
	} {
		_, err := d.Apply(r)
		if err == nil || (name == "not known" || name == "ended") != errors.Is(err, store.ErrOrphan) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d.OpenCount() != 1 || d.History() != 1 {
		t.Errorf("%d open, %d ended", d.OpenCount(), d.History())
	}
}

// A job keeps the level it was accepted with, whatever its definition says by
// now: its records are all written, or none is.
func TestLevel(t *testing.T) {
	d := newDesk(t)
	rec := d.accept("op")
	rec.Job.Volatile = true
	memory, written := d.apply(rec), d.accepted("op")
	for _, to := range []struct{ asked, memory, written mode.Durability }{
		{mode.Disk, mode.Memory, mode.Disk}, {mode.Relaxed, mode.Memory, mode.Relaxed}, {mode.Memory, mode.Memory, mode.Relaxed},
	} {
		if a, b := memory.Level(to.asked), written.Level(to.asked); a != to.memory || b != to.written {
			t.Errorf("%s: %s and %s", to.asked, a, b)
		}
	}
}

// Ids are in order of acceptance, whatever the clock does, and after a restart.
func TestNewID(t *testing.T) {
	d := newDesk(t)
	var ids []ulid.ULID
	for _, at := range []time.Time{now(), now(), now().Add(time.Hour), now(), now().Add(-time.Hour)} {
		id := d.NewID(at)
		ids = append(ids, id)
		d.apply(store.Record{Op: store.OpAccept, ID: id, Job: &store.Job{ID: id, Dispatcher: "op", State: ipc.Queued}})
	}
	again := New(store.Retention{})
	for j := range d.Open() {
		if err := again.Replay().Apply(store.Record{Op: store.OpAccept, ID: j.ID(), Job: j.State()}); err != nil {
			t.Fatal(err)
		}
	}
	ids = append(ids, again.NewID(now()))
	if !slices.IsSortedFunc(ids, ulid.ULID.Compare) {
		t.Error(ids)
	}
	// The last one carries over into all bytes below.
	d.lastID = numbered(0xffff)
	if id := d.NewID(time.UnixMilli(0)); id != numbered(0x10000) && id.Compare(d.lastID) < 0 {
		t.Error(id)
	}
}

// Counters count what records say, and what the owner adds.
func TestCounters(t *testing.T) {
	d := newDesk(t)
	for _, s := range []ipc.State{ipc.Succeeded, ipc.Failed, ipc.TimedOut, ipc.Interrupted, ipc.Canceled, ipc.Expired} {
		j := d.accepted("op")
		d.apply(store.Record{Op: store.OpJoin, ID: j.ID()})
		d.apply(end(j.ID(), s))
	}
	d.Count(d.Dispatcher("op"), func(c *ipc.Counters) *int64 { return &c.Refused })
	want := ipc.Counters{Accepted: 6, Coalesced: 6, Succeeded: 1, Failed: 3, Canceled: 2, Refused: 1}
	if got := d.Dispatcher("op").Counters; got != want || d.Total != want {
		t.Errorf("%+v, of all %+v", got, d.Total)
	}
	again := New(store.Retention{})
	if err := again.Replay().Apply(d.accept("op")); err != nil || again.Total != (ipc.Counters{}) {
		t.Errorf("a replay counts: %+v, %v", again.Total, err)
	}
}

// Notifiers and tries are bounded, their counts are not.
func TestBoundedMemory(t *testing.T) {
	d := newDesk(t)
	j := d.accepted("op")
	for n := range int32(maxNotifiers + 10) {
		d.apply(store.Record{Op: store.OpJoin, ID: j.ID(), By: &ipc.Notifier{Peer: ipc.Peer{UID: int(n)}}})
	}
	for n := range int32(maxTries + 10) {
		out := &store.Outcome{EndedAt: 1, Error: &ipc.JobError{Kind: ipc.KindExitStatus, Detail: []byte(`"much"`)}}
		d.apply(store.Record{Op: store.OpRequeue, ID: j.ID(), Attempt: n + 1, Run: out})
	}
	s := j.State()
	if len(s.Notifiers) != maxNotifiers || s.Coalesced != maxNotifiers+10 || len(s.Tries) != maxTries {
		t.Errorf("%d notifiers, %d joined, %d tries", len(s.Notifiers), s.Coalesced, len(s.Tries))
	}
	if last := s.Tries[maxTries-1]; last.Number != maxTries+10 || last.Error.Detail != nil {
		t.Errorf("%+v", last)
	}
}
