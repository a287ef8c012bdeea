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

// plan puts the schedules of a catalog in force.
func (s *state) plan(c *dispatchers.Catalog) {
	host, _ := os.Hostname()
	var entries []scheduler.Entry
	for name, spec := range c.Specs {
		if len(spec.Schedule) == 0 {
			continue
		}
		times, err := spec.Times()
		if err != nil {
			s.log.Error("schedule is not in force", "dispatcher", name, "error", err)
			continue
		}
		entry := scheduler.Entry{
			Name: name, Times: times, Offset: scheduler.Offset(spec.Jitter, host, name),
			CatchUp: scheduler.CatchUp(spec.CatchUp), Max: spec.MaxQueue,
		}
		if last, ok := s.book.Cursor(name); ok && last.Plan == planOf(spec) {
			entry.Last = time.Unix(0, last.Due)
		}
		entries = append(entries, entry)
	}
	s.agenda.Set(s.clock(), entries)
}

// planOf names a schedule: what was due by another one means nothing to it.
func planOf(spec *dispatchers.Spec) string {
	return strings.TrimSpace(strings.Join(spec.Schedule, ", ") + " " + spec.Timezone)
}

// submitDue sees to what is due, and to what could not be journaled when it was. It
// reports whether there was anything.
func (s *state) submitDue() bool {
	due := s.agenda.Due(s.clock())
	if s.journalErr == nil {
		for name, t := range s.owed {
			delete(s.owed, name)
			due = append([]scheduler.Occurrence{t}, due...)
		}
	}
	if len(due) == 0 {
		return false // a nap is over
	}
	var names []string
	ticks := map[string][]scheduler.Occurrence{}
	for _, t := range due {
		if ticks[t.Name] == nil {
			names = append(names, t.Name)
		}
		ticks[t.Name] = append(ticks[t.Name], t)
	}
	for _, name := range names {
		spec := s.catalog.Load().Specs[name]
		switch {
		case spec == nil:
		case slices.ContainsFunc(ticks[name], isRun):
			go s.fire(spec, ticks[name])
		default: // only to be noted
			for _, t := range ticks[name] {
				s.deal(submission{spec: spec}, t, nil)
			}
		}
	}
	return true
}

// isRun reports whether a tick asks for a run.
func isRun(t scheduler.Occurrence) bool {
	return t.Kind == scheduler.Run || t.Kind == scheduler.CaughtUp
}

// fire does what of ticks needs no loop: packages are looked for.
func (h *host) fire(spec *dispatchers.Spec, ticks []scheduler.Occurrence) {
	sub, err := h.check(context.Background(), spec, ipc.NotifyRequest{Dispatcher: spec.Name})
	h.post(func(s *state) {
		for _, t := range ticks {
			s.deal(sub, t, err)
		}
	})
}

// deal makes a job of a tick, or notes why there is none.
func (s *state) deal(sub submission, t scheduler.Occurrence, unfit error) {
	name := sub.spec.Name
	if s.stopping || s.handingOver {
		return // the next daemon catches it up
	}
	sub.tick = s.stand(sub.spec, t)
	if sub.tick == nil {
		return
	}
	_, running := s.core.DispatcherCounts(name)
	switch {
	case t.Kind == scheduler.Skipped:
		sub.tick.Why = "passed while the daemon was down or the machine asleep, and catch_up is none"
		s.noteTick(sub)
	case !isRun(t):
		s.noteTick(sub)
	case unfit != nil:
		s.count(name, refused)
		s.refuseTick(sub, unfit)
	case sub.spec.Overlap == mode.OverlapSkip && running > 0:
		sub.tick.Why = "a run was active, and overlap is skip"
		s.noteTick(sub)
	default:
		sub.origin = ipc.OriginSchedule
		if t.Kind == scheduler.CaughtUp {
			sub.origin = ipc.OriginCatchUp
		}
		s.submitTick(sub, t)
	}
}

// stand is where a schedule stands after a tick; nil when it stands further
// already.
func (s *state) stand(spec *dispatchers.Spec, t scheduler.Occurrence) *store.Cursor {
	next := &store.Cursor{Due: t.Last.UnixNano(), Plan: planOf(spec), At: s.wallClock().UnixNano(), Missed: int64(t.Missed)}
	last, ok := s.book.Cursor(spec.Name)
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
func (s *state) submitTick(sub submission, t scheduler.Occurrence) {
	before, had := s.book.Cursor(sub.spec.Name)
	sub.by = ipc.Notifier{Peer: self(), At: s.wallClock().UTC()}
	if s.durability(sub.spec) == store.Memory { // its job is written nowhere
		defer s.noteTick(sub)
	}
	s.submit(sub, func(a answer) {
		if a.err == nil {
			return
		}
		s.post(func(s *state) {
			if p, ok := errors.AsType[*ipc.Error](a.err); !ok || p.Kind != ipc.KindJournalUnavailable {
				s.refuseTick(sub, a.err)
				return
			}
			// Nothing says that it was dealt with: it is done when it can be.
			if had {
				_, _ = s.book.Apply(store.Record{Op: store.OpCursor, Dispatcher: sub.spec.Name, Cursor: &before})
			}
			t.Kind = scheduler.CaughtUp
			s.owed[t.Name] = t
			s.log.Warn("a due run waits for the journal", "dispatcher", t.Name, "due", t.Due, "error", a.err)
		})
	})
}

// refuseTick records, logs and counts a tick that was not accepted.
func (s *state) refuseTick(sub submission, err error) {
	if p, ok := errors.AsType[*ipc.Error](err); ok && p.Kind == ipc.KindDraining && s.stopping {
		return
	}
	next := *sub.tick // the journal may still write the other
	next.Refused++
	next.Why = err.Error()
	sub.tick = &next
	s.noteTick(sub)
	s.log.Warn("a due run was refused", "dispatcher", sub.spec.Name, "due", time.Unix(0, sub.tick.Due), "error", err)
}

// noteTick records where a schedule stands when no job does.
func (s *state) noteTick(sub submission) {
	rec := store.Record{Op: store.OpCursor, Dispatcher: sub.spec.Name, At: sub.tick.At, Cursor: sub.tick}
	if _, err := s.book.Apply(rec); err == nil {
		s.journal.Append(rec, store.Relaxed, false, func(error) {})
	}
}

// notifyAtStart asks for a run of what is to run whenever the daemon starts.
func (d *Daemon) notifyAtStart() {
	for _, spec := range d.catalog.Load().Specs {
		if spec.OnStart {
			go d.notifyBySelf(spec, ipc.OriginStart)
		}
	}
}

// notifyBySelf asks for a run that nobody waits for.
func (b *backend) notifyBySelf(spec *dispatchers.Spec, origin ipc.Origin) {
	_, err := b.Notify(context.Background(), self(), ipc.NotifyRequest{Dispatcher: spec.Name, Origin: origin})
	if err != nil {
		b.log.Warn("a run was refused", "dispatcher", spec.Name, "origin", string(origin), "error", err)
	}
}

// self is the daemon as one who asks.
func self() ipc.Peer { return ipc.Peer{UID: os.Geteuid(), GID: os.Getegid(), PID: os.Getpid()} }

// Schedule lists when dispatchers are due: those that have a schedule.
func (b *backend) Schedule(ctx context.Context, by ipc.Peer, q ipc.ScheduleQuery) ([]ipc.Schedule, error) {
	var only *dispatchers.Spec
	if q.Dispatcher != "" {
		var err error
		if only, err = b.lookup(q.Dispatcher); err != nil {
			return nil, err
		}
	}
	list := []ipc.Schedule{}
	err := b.permitted(ctx, query{Verb: server.VerbRead, Peer: by, Dispatcher: only}, func(s *state) {
		c := s.catalog.Load()
		for _, name := range c.Names() {
			spec := c.Specs[name]
			if spec == nil || len(spec.Schedule) == 0 || q.Dispatcher != "" && q.Dispatcher != name {
				continue
			}
			list = append(list, s.scheduleView(spec, q.Next))
		}
	})
	return list, err
}

// scheduleView is how a dispatcher's schedule stands.
func (s *state) scheduleView(spec *dispatchers.Spec, next int) ipc.Schedule {
	host, _ := os.Hostname()
	v := ipc.Schedule{
		Dispatcher: spec.Name, Schedule: spec.Schedule, Timezone: spec.Timezone,
		Jitter:  scheduler.Offset(spec.Jitter, host, spec.Name).String(),
		CatchUp: string(spec.CatchUp), Overlap: string(spec.Overlap),
		Paused: slices.Contains(s.book.Paused(), spec.Name), Next: []time.Time{},
	}
	if s, ok := s.agenda.Of(spec.Name, next); ok {
		v.Next = append(v.Next, s.Next...)
		if !s.Last.IsZero() {
			v.Last = new(s.Last)
		}
	}
	if t, ok := s.book.Cursor(spec.Name); ok && t.Plan == planOf(spec) {
		v.Why, v.Missed, v.Refused = t.Why, t.Missed, t.Refused
	}
	return v
}
