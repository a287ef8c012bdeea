package jobs

import (
	"fmt"
	"slices"
	"testing"

	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// heard notes what a subscriber hears.
func heard(d *desk) *[]string {
	var list []string
	d.Subscribe(func(e Event) {
		text := fmt.Sprintf("%d %s %s", e.Number, e.Op, e.Dispatcher)
		if e.Before != nil {
			text += " from " + string(e.Before.State)
		}
		if e.After != nil {
			text += " to " + string(e.After.State)
		}
		list = append(list, text)
	})
	return &list
}

func wantHeard(t *testing.T, got *[]string, want ...string) {
	t.Helper()
	if !slices.Equal(*got, want) {
		t.Errorf("heard %q, want %q", *got, want)
	}
	*got = nil
}

// Events come in the order of records, each once it is durable. One that waits
// holds back those behind it.
func TestEventsInOrder(t *testing.T) {
	d := newDesk(t)
	got := heard(d)
	a := d.apply(d.accept("a"))
	d.apply(store.Record{Op: store.OpPause, Dispatcher: "b"})
	d.apply(start(a.ID()))
	d.apply(end(a.ID(), ipc.Succeeded))
	wantHeard(t, got)
	d.writing[0], d.writing[1] = d.writing[1], d.writing[0] // the pause is written first
	d.answer(nil)
	wantHeard(t, got)
	d.answer(nil)
	wantHeard(t, got, "1 accept a to queued", "2 pause b")
	d.flush()
	wantHeard(t, got, "3 start a from queued to running", "4 end a from running to succeeded")
	if len(d.events.pending) > 0 {
		t.Errorf("%d are still kept", len(d.events.pending))
	}
}

// What failed is heard with the whole journal that has it; what was taken back
// never.
func TestEventsThatFail(t *testing.T) {
	d := newDesk(t)
	got := heard(d)
	j, lost := d.accepted("op"), d.apply(d.accept("op"))
	d.apply(start(j.ID()))
	d.answer(errDisk)
	d.answer(errDisk)
	d.Withdraw(lost.ID())
	if _, err := d.Revert(store.Record{Op: store.OpRequeue, ID: j.ID()}); err != nil {
		t.Fatal(err)
	}
	d.apply(store.Record{Op: store.OpPause, Dispatcher: "op"})
	d.apply(end(j.ID(), ipc.Canceled))
	d.answer(errDisk)
	d.answer(errDisk)
	wantHeard(t, got, "1 accept op to queued")
	d.saved()
	wantHeard(t, got, "4 pause op", "5 end op from queued to canceled")
}

// A schedule's place that is taken back has no event.
func TestRevertedCursor(t *testing.T) {
	d := newDesk(t)
	got := heard(d)
	at := func(due int64) store.Record {
		return store.Record{Op: store.OpCursor, Dispatcher: "op", Cursor: &store.Cursor{Due: due}}
	}
	d.apply(at(1))
	d.flush()
	d.apply(at(2))
	d.answer(errDisk)
	if _, err := d.Revert(at(1)); err != nil {
		t.Fatal(err)
	}
	d.accepted("op")
	wantHeard(t, got, "1 tick op", "3 accept op to queued")
	if d.Dispatcher("op").Cursor.Due != 1 {
		t.Error(d.Dispatcher("op").Cursor)
	}
}

// A subscriber that applies a record itself hears of it after the others.
func TestSubscriberApplies(t *testing.T) {
	d := newDesk(t)
	d.Subscribe(func(e Event) {
		if e.Op == store.OpAccept {
			d.apply(end(e.After.ID, ipc.Canceled))
		}
	})
	got := heard(d)
	d.accepted("op")
	d.flush()
	wantHeard(t, got, "1 accept op to queued", "2 end op from queued to canceled")
}

// A replay is heard of by nobody, and without a subscriber nothing is kept.
func TestNoSubscriber(t *testing.T) {
	d := newDesk(t)
	d.apply(d.accept("op"))
	if len(d.events.pending) > 0 || d.events.last != 1 {
		t.Errorf("%d kept, the last is %d", len(d.events.pending), d.events.last)
	}
	got := heard(d)
	if err := d.Replay().Apply(d.accept("op")); err != nil {
		t.Fatal(err)
	}
	d.flush()
	wantHeard(t, got)
}

// BenchmarkApply is a job's life of three records, without and with a listener.
func BenchmarkApply(b *testing.B) {
	for _, listens := range []bool{false, true} {
		b.Run(map[bool]string{false: "alone", true: "heard"}[listens], func(b *testing.B) {
			d := newDesk(b)
			d.archive.keep.Count = 1000
			if listens {
				d.Subscribe(func(Event) {})
			}
			b.ReportAllocs()
			for b.Loop() {
				j := d.accepted("op")
				d.apply(start(j.ID()))
				d.apply(end(j.ID(), ipc.Succeeded))
				d.flush()
				d.Prune(0)
			}
		})
	}
}
