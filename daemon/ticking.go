package daemon

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
	"dispatchd/scheduler"
)

// A due time enters by the same door as a client's notify. Where the schedule
// stands is in the same record of the journal as the job that it led to, so no
// crash loses one or doubles it.

// clock reads both clocks for the agenda.
func (e *engine) clock() scheduler.Now { return scheduler.Now{Wall: e.wall(), Mono: e.now()} }

// plan puts the schedules of a catalog in force.
func (e *engine) plan(c *dispatchers.Catalog) {
	host, _ := os.Hostname()
	var entries []scheduler.Entry
	for name, spec := range c.Specs {
		if len(spec.Schedule) == 0 {
			continue
		}
		times, err := spec.Times()
		if err != nil {
			e.log.Error("schedule is not in force", "dispatcher", name, "error", err)
			continue
		}
		entry := scheduler.Entry{
			Name: name, Times: times, Offset: scheduler.Offset(spec.Jitter, host, name),
			CatchUp: scheduler.CatchUp(spec.CatchUp), Max: spec.MaxQueue,
		}
		if last, ok := e.book.Tick(name); ok && last.Plan == planOf(spec) {
			entry.Last = time.Unix(0, last.Due)
		}
		entries = append(entries, entry)
	}
	e.agenda.Set(e.clock(), entries)
}

// planOf names a schedule: what was due by another one means nothing to it.
func planOf(spec *dispatchers.Spec) string {
	return strings.TrimSpace(strings.Join(spec.Schedule, ", ") + " " + spec.Timezone)
}

// tick sees to what is due, and to what could not be journaled when it was. It
// reports whether there was anything.
func (e *engine) tick() bool {
	due := e.agenda.Due(e.clock())
	if e.journalErr == nil {
		for name, t := range e.owed {
			delete(e.owed, name)
			due = append([]scheduler.Tick{t}, due...)
		}
	}
	if len(due) == 0 {
		return false // a nap is over
	}
	var names []string
	ticks := map[string][]scheduler.Tick{}
	for _, t := range due {
		if ticks[t.Name] == nil {
			names = append(names, t.Name)
		}
		ticks[t.Name] = append(ticks[t.Name], t)
	}
	for _, name := range names {
		spec := e.catalog.Load().Specs[name]
		switch {
		case spec == nil:
		case slices.ContainsFunc(ticks[name], isRun):
			go e.fire(spec, ticks[name])
		default: // only to be noted
			for _, t := range ticks[name] {
				e.deal(submission{spec: spec}, t, nil)
			}
		}
	}
	return true
}

// isRun reports whether a tick asks for a run.
func isRun(t scheduler.Tick) bool {
	return t.Kind == scheduler.Run || t.Kind == scheduler.CaughtUp
}

// fire does what of ticks needs no loop: packages are looked for.
func (e *engine) fire(spec *dispatchers.Spec, ticks []scheduler.Tick) {
	s, err := e.check(context.Background(), spec, ipc.NotifyRequest{Dispatcher: spec.Name})
	e.post(func() {
		for _, t := range ticks {
			e.deal(s, t, err)
		}
	})
}

// deal makes a job of a tick, or notes why there is none.
func (e *engine) deal(s submission, t scheduler.Tick, unfit error) {
	name := s.spec.Name
	if e.stopping || e.leaving {
		return // the next daemon catches it up
	}
	s.tick = e.stand(s.spec, t)
	if s.tick == nil {
		return
	}
	_, running := e.core.DispatcherCounts(name)
	switch {
	case t.Kind == scheduler.Skipped:
		s.tick.Why = "passed while the daemon was down or the machine asleep, and catch_up is none"
		e.noteTick(s)
	case !isRun(t):
		e.noteTick(s)
	case unfit != nil:
		e.count(name, refused)
		e.refuseTick(s, unfit)
	case s.spec.Overlap == mode.OverlapSkip && running > 0:
		s.tick.Why = "a run was active, and overlap is skip"
		e.noteTick(s)
	default:
		s.origin = ipc.OriginSchedule
		if t.Kind == scheduler.CaughtUp {
			s.origin = ipc.OriginCatchUp
		}
		e.submitTick(s, t)
	}
}

// stand is where a schedule stands after a tick; nil when it stands further
// already.
func (e *engine) stand(spec *dispatchers.Spec, t scheduler.Tick) *store.Tick {
	next := &store.Tick{Due: t.Last.UnixNano(), Plan: planOf(spec), At: e.wall().UnixNano(), Missed: int64(t.Missed)}
	last, ok := e.book.Tick(spec.Name)
	if !ok || last.Plan != next.Plan {
		return next
	}
	if last.Due > next.Due && t.Kind != scheduler.Reset {
		return nil
	}
	next.Missed += last.Missed
	next.Refused = last.Refused
	return next
}

// submitTick asks for the run of a tick.
func (e *engine) submitTick(s submission, t scheduler.Tick) {
	before, had := e.book.Tick(s.spec.Name)
	s.by = ipc.Notifier{Peer: self(), At: e.wall().UTC()}
	if e.durability(s.spec) == store.Memory { // its job is written nowhere
		defer e.noteTick(s)
	}
	e.submit(s, func(a answer) {
		if a.err == nil {
			return
		}
		e.post(func() {
			if p, ok := errors.AsType[*ipc.Error](a.err); !ok || p.Kind != ipc.KindJournalUnavailable {
				e.refuseTick(s, a.err)
				return
			}
			// Nothing says that it was dealt with: it is done when it can be.
			if had {
				_, _ = e.book.Apply(store.Record{Op: store.OpTick, Dispatcher: s.spec.Name, Tick: &before})
			}
			t.Kind = scheduler.CaughtUp
			e.owed[t.Name] = t
			e.log.Warn("a due run waits for the journal", "dispatcher", t.Name, "due", t.Due, "error", a.err)
		})
	})
}

// refuseTick records, logs and counts a tick that was not accepted.
func (e *engine) refuseTick(s submission, err error) {
	if p, ok := errors.AsType[*ipc.Error](err); ok && p.Kind == ipc.KindDraining && e.stopping {
		return
	}
	next := *s.tick // the journal may still write the other
	next.Refused++
	next.Why = err.Error()
	s.tick = &next
	e.noteTick(s)
	e.log.Warn("a due run was refused", "dispatcher", s.spec.Name, "due", time.Unix(0, s.tick.Due), "error", err)
}

// noteTick records where a schedule stands when no job does.
func (e *engine) noteTick(s submission) {
	rec := store.Record{Op: store.OpTick, Dispatcher: s.spec.Name, At: s.tick.At, Tick: s.tick}
	if _, err := e.book.Apply(rec); err == nil {
		e.journal.Append(rec, store.Relaxed, false, func(error) {})
	}
}

// notifyAtStart asks for a run of what is to run whenever the daemon starts.
func (e *engine) notifyAtStart() {
	for _, spec := range e.catalog.Load().Specs {
		if spec.OnStart {
			go e.notifyBySelf(spec, ipc.OriginStart)
		}
	}
}

// notifyBySelf asks for a run that nobody waits for.
func (e *engine) notifyBySelf(spec *dispatchers.Spec, origin ipc.Origin) {
	_, err := e.Notify(context.Background(), self(), ipc.NotifyRequest{Dispatcher: spec.Name, Origin: origin})
	if err != nil {
		e.log.Warn("a run was refused", "dispatcher", spec.Name, "origin", string(origin), "error", err)
	}
}

// self is the daemon as one who asks.
func self() ipc.Peer { return ipc.Peer{UID: os.Geteuid(), GID: os.Getegid(), PID: os.Getpid()} }

// Schedule lists when dispatchers are due: those that have a schedule.
func (e *engine) Schedule(ctx context.Context, by ipc.Peer, q ipc.ScheduleQuery) ([]ipc.Schedule, error) {
	var only *dispatchers.Spec
	if q.Dispatcher != "" {
		var err error
		if only, err = e.lookup(q.Dispatcher); err != nil {
			return nil, err
		}
	}
	list := []ipc.Schedule{}
	err := e.permitted(ctx, query{Verb: server.VerbRead, Peer: by, Dispatcher: only}, func() {
		c := e.catalog.Load()
		for _, name := range c.Names() {
			spec := c.Specs[name]
			if spec == nil || len(spec.Schedule) == 0 || q.Dispatcher != "" && q.Dispatcher != name {
				continue
			}
			list = append(list, e.scheduleView(spec, q.Next))
		}
	})
	return list, err
}

// scheduleView is how a dispatcher's schedule stands.
func (e *engine) scheduleView(spec *dispatchers.Spec, next int) ipc.Schedule {
	host, _ := os.Hostname()
	v := ipc.Schedule{
		Dispatcher: spec.Name, Schedule: spec.Schedule, Timezone: spec.Timezone,
		Jitter:  scheduler.Offset(spec.Jitter, host, spec.Name).String(),
		CatchUp: string(spec.CatchUp), Overlap: string(spec.Overlap),
		Paused: slices.Contains(e.book.Paused(), spec.Name), Next: []time.Time{},
	}
	if s, ok := e.agenda.Of(spec.Name, next); ok {
		v.Next = append(v.Next, s.Next...)
		if !s.Last.IsZero() {
			v.Last = new(s.Last)
		}
	}
	if t, ok := e.book.Tick(spec.Name); ok && t.Plan == planOf(spec) {
		v.Why, v.Missed, v.Refused = t.Why, t.Missed, t.Refused
	}
	return v
}
