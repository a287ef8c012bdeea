package jobs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// A dispatcher that a reload removes keeps its definition until the end of its
// last job is durable; one that comes back is as before.
func TestDefine(t *testing.T) {
	d := newDesk(t)
	spec, next := &dispatchers.Spec{Name: "op"}, &dispatchers.Spec{Name: "op"}
	fault := []dispatchers.Fault{{Message: "bad"}}
	d.Define(&dispatchers.Catalog{
		Specs:    map[string]*dispatchers.Spec{"op": spec, "idle": spec},
		Disabled: map[string][]dispatchers.Fault{"bad": fault},
	})
	j := d.accepted("op")
	op, idle, bad := d.Dispatcher("op"), d.Dispatcher("idle"), d.Dispatcher("bad")
	if op.Spec != spec || op.Idle() || !idle.Idle() || bad.Spec != nil || len(bad.Faults) != 1 {
		t.Errorf("%+v, %+v", op, bad)
	}
	d.Define(&dispatchers.Catalog{})
	if !op.Removed || op.Spec != spec || idle.Spec != nil || !bad.Removed || bad.Faults != nil {
		t.Errorf("removed: %+v, %+v, %+v", op, idle, bad)
	}
	d.apply(end(j.ID(), ipc.Succeeded))
	if op.Spec == nil {
		t.Error("the definition is gone, and the end is not durable")
	}
	d.flush()
	if op.Spec != nil {
		t.Error("the definition stays after the last job")
	}
	d.Define(&dispatchers.Catalog{Specs: map[string]*dispatchers.Spec{"op": next}})
	if op.Removed || op.Spec != next || d.Dispatcher("op") != op || op.Counters.Succeeded != 1 {
		t.Errorf("back: %+v", op)
	}
	if d.Dispatcher("nobody") != nil {
		t.Error("a dispatcher that nobody knows is known")
	}
	var names []string
	for x := range d.Dispatchers() {
		names = append(names, x.Name)
	}
	if !slices.Equal(names, []string{"bad", "idle", "op"}) {
		t.Error(names)
	}
}

// A pause outlives restarts; the answer to it waits at the dispatcher's gate.
func TestPause(t *testing.T) {
	d := newDesk(t)
	d.apply(store.Record{Op: store.OpPause, Dispatcher: "b"})
	d.apply(store.Record{Op: store.OpPause, Dispatcher: "a"})
	if g := d.Dispatcher("a").Gate(); g.Phase() != durable.Writing {
		t.Error(g.Phase())
	}
	d.flush()
	if got := d.Paused(); !slices.Equal(got, []string{"a", "b"}) || !slices.Equal(d.Snapshot().Paused, got) {
		t.Error(got)
	}
	d.apply(store.Record{Op: store.OpResume, Dispatcher: "a"})
	if got := d.Paused(); !slices.Equal(got, []string{"b"}) || d.Dispatcher("a").Paused {
		t.Error(got)
	}
}

// The pause after a failed refresh doubles up to five minutes, and is over with
// one that brings data.
func TestBackoff(t *testing.T) {
	var b Backoff
	if b.Wait(0) || b.Err(0) != nil {
		t.Error("nothing has failed")
	}
	var at time.Duration
	for _, seconds := range []int{5, 10, 20, 40, 80, 160, 300, 300} {
		pause := time.Duration(seconds) * time.Second
		b.Failed(at, ipc.CacheError{Job: "J"})
		if !b.Wait(at+pause-1) || b.Wait(at+pause) {
			t.Errorf("at %s: not %s", at, pause)
		}
		if e := b.Err(at + pause - 1500*time.Millisecond); e.Job != "J" || e.RetryAfter != 2 {
			t.Errorf("%+v", e)
		}
		at += pause
	}
	if e := b.Err(at + time.Hour); e == nil || e.RetryAfter != 0 {
		t.Errorf("%+v", e)
	}
	if b.Succeeded(); b.Wait(at) || b.Err(at) != nil {
		t.Error("still failing")
	}
}

// Readers who wait for a refresh that is being submitted are told once, and not of
// the one that one of them asks for because of that.
func TestWishes(t *testing.T) {
	d := &Dispatcher{}
	var told []string
	d.Wishes = append(d.Wishes,
		func(job string, err error) {
			told = append(told, job+fmt.Sprint(err))
			d.Wishes = append(d.Wishes, func(job string, _ error) { told = append(told, "again "+job) })
		},
		func(job string, err error) { told = append(told, job+fmt.Sprint(err)) },
	)
	d.Answer("J", nil)
	if got := strings.Join(told, ", "); got != "J<nil>, J<nil>" || len(d.Wishes) != 1 {
		t.Errorf("told %s, %d wait", got, len(d.Wishes))
	}
	d.Answer("", errors.New("no"))
	if got := strings.Join(told, ", "); got != "J<nil>, J<nil>, again " || len(d.Wishes) != 0 {
		t.Errorf("told %s, %d wait", got, len(d.Wishes))
	}
}
