package daemon

import (
	"context"
	"iter"
	"os"
	"time"

	"dispatchd/daemon/internal/schedules"
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

// timetable has due times become jobs.
type timetable struct{ admission }

// scheduling gives the timetable of the state.
func scheduling(s *state) timetable { return timetable{admitting(s)} }

// plan puts the schedules of the catalog in force. Of those that are not any more
// it notes since when: what is due meanwhile is not missed, if they come back.
func (s timetable) plan(c *dispatchers.Catalog) {
	for _, problem := range s.planner.Plan(s.clock(), s.scheduled(c)) {
		s.log.Error("schedule", "error", problem)
	}
	for d := range s.jobs.Dispatchers() {
		if d.Cursor == nil || d.Spec != nil && !d.Removed && len(d.Spec.Schedule) > 0 && s.planner.Fault(d.Name) == "" {
			continue
		}
		if out, changed := schedules.Out(*d.Cursor, s.cfg.wall()); changed {
			s.moveCursor(d.Name, out)
		}
	}
}

// replan puts the schedules in force anew when the zone of one of them is another
// than when they were planned.
func (s timetable) replan() {
	before, _ := s.planner.LocalZone()
	changed, gone := s.planner.Look(s.clock())
	for _, problem := range gone {
		s.log.Error("schedule", "error", problem)
	}
	if !changed {
		return
	}
	s.plan(s.catalog.Load())
	now, _ := s.planner.LocalZone()
	s.log.Info("time zones have changed, due times are computed anew", "machine_before", before, "machine", now)
}

// scheduled gives the dispatchers of a catalog that have a schedule, by name.
func (s timetable) scheduled(c *dispatchers.Catalog) iter.Seq[schedules.Entry] {
	return func(yield func(schedules.Entry) bool) {
		for _, name := range c.Names() {
			if spec := c.Specs[name]; spec != nil && len(spec.Schedule) > 0 && !yield(s.entry(spec)) {
				return
			}
		}
	}
}

// entry is a dispatcher as the planner needs it.
func (s timetable) entry(spec *dispatchers.Spec) schedules.Entry {
	e := schedules.Entry{Name: spec.Name, Spec: spec}
	if d := s.jobs.Dispatcher(spec.Name); d != nil {
		e.Cursor, e.Paused = d.Cursor, d.Paused
	}
	return e
}

// deferred gives the due times that could not be journaled when they were, and
// are dealt with now.
func (s timetable) deferred() []scheduler.Occurrence {
	var list []scheduler.Occurrence
	for d := range s.jobs.Dispatchers() {
		if d.Deferred != nil {
			list = append(list, *d.Deferred)
			d.Deferred = nil
		}
	}
	return list
}

// submitDue submits what is due, and what could not be journaled when it was. It
// reports whether there was anything.
func (s timetable) submitDue() bool {
	var deferred []scheduler.Occurrence
	if s.owing && s.journal.Err() == nil && !s.handingOver {
		s.owing, deferred = false, s.deferred()
	}
	s.replan()
	due := s.planner.Due(s.clock(), deferred...)
	for _, d := range due {
		spec := s.catalog.Load().Specs[d.Dispatcher]
		switch {
		case spec == nil:
		case d.WantsRun():
			go s.checkThenAdmit(spec, d)
		default:
			s.admit(submission{spec: spec}, d, nil)
		}
	}
	return len(due) > 0
}

// checkThenAdmit does what of a due run needs no loop: packages are looked for.
func (h *host) checkThenAdmit(spec *dispatchers.Spec, d schedules.Due) {
	sub, unfit := h.check(context.Background(), spec, ipc.NotifyRequest{Dispatcher: spec.Name})
	h.post(func(s *state) { scheduling(s).admit(sub, d, unfit) })
}

// admit performs what is decided of each occurrence before the next one is
// decided on: a job that is submitted moves the cursor.
func (s timetable) admit(sub submission, d schedules.Due, unfit error) {
	for _, o := range d.Occurrences {
		if s.handingOver && s.durability(sub.spec) == mode.Memory {
			// The whole journal that the next image gets may be on its way already. If
			// there is no next image after all, it is dealt with then.
			s.deferOccurrence(o)
			continue
		}
		_, running := s.core.DispatcherCounts(d.Dispatcher)
		decision := schedules.Admit(sub.spec, o, schedules.Standing{
			Cursor: s.entry(sub.spec).Cursor, Running: running, Pending: s.pending(sub.spec),
			Leaving: s.stopping, At: s.cfg.wall(), Offset: s.planner.Offset(d.Dispatcher, sub.spec),
		}, unfit)
		switch decision.Verdict {
		case schedules.Ignore:
		case schedules.Note:
			s.moveCursor(d.Dispatcher, decision.Cursor)
			s.logLeftOut(d.Dispatcher, o, decision.Cursor)
		case schedules.Refuse:
			s.count(d.Dispatcher, refused)
			s.moveCursor(d.Dispatcher, decision.Cursor)
			s.logRefused(sub.spec, decision.Cursor, decision.Err)
		case schedules.Submit:
			due := sub
			due.origin, due.cursor = decision.Origin, &decision.Cursor
			s.submitOccurrence(due, o, decision.Unran)
		}
	}
}

// pending reports whether a job of an earlier due time has not started yet. Where
// notifies join, the next one joins it, and nothing piles up.
func (s timetable) pending(spec *dispatchers.Spec) bool {
	if queued, _ := s.core.DispatcherCounts(spec.Name); queued == 0 || spec.Coalesce {
		return false
	}
	for job := range s.jobs.Open() {
		st := job.State()
		if job.Dispatcher.Name == spec.Name && st.State == ipc.Queued && (st.Origin == ipc.OriginSchedule || st.Origin == ipc.OriginCatchUp) {
			return true
		}
	}
	return false
}

// submitOccurrence submits a job for an occurrence. unran is the cursor's beginning
// should the queue refuse it.
func (s timetable) submitOccurrence(sub submission, o scheduler.Occurrence, unran store.Cursor) {
	before := s.entry(sub.spec).Cursor
	sub.by = ipc.Notifier{Peer: self(), At: s.cfg.wall().UTC()}
	if s.durability(sub.spec) == mode.Memory { // its job is written nowhere
		defer s.moveCursor(sub.spec.Name, *sub.cursor)
	}
	s.submit(sub, func(a answer) {
		if a.err != nil {
			s.post(func(s *state) { scheduling(s).notAccepted(sub, o, before, unran, a.err) })
		}
	})
}

// notAccepted deals with an occurrence whose job was not accepted. One that the
// journal could not take is admitted again when it can: nothing says that it was
// dealt with.
func (s timetable) notAccepted(sub submission, o scheduler.Occurrence, before *store.Cursor, unran store.Cursor, err error) {
	switch {
	case isKind(err, ipc.KindJournalUnavailable):
		if before != nil {
			_, _ = s.jobs.Revert(store.Record{Op: store.OpCursor, Dispatcher: sub.spec.Name, Cursor: before})
		}
		s.deferOccurrence(o)
		s.log.Warn("a due run waits for the journal", "dispatcher", o.Name, "due", o.Due, "error", err)
	case isKind(err, ipc.KindDraining) && s.stopping: // the next daemon catches it up
	default:
		next := schedules.Refused(unran, err)
		s.moveCursor(sub.spec.Name, next)
		s.logRefused(sub.spec, next, err)
	}
}

// deferOccurrence keeps an occurrence until it can be dealt with: nothing says that
// it was.
func (s timetable) deferOccurrence(o scheduler.Occurrence) {
	later := schedules.Deferred(o)
	s.owing, s.jobs.Dispatcher(o.Name).Deferred = true, &later
}

// logRefused logs an occurrence that led to no job.
func (s timetable) logRefused(spec *dispatchers.Spec, at store.Cursor, err error) {
	s.log.Warn("a due run was refused", "dispatcher", spec.Name, "due", time.Unix(0, at.Due), "error", err)
}

// logLeftOut logs an occurrence that was only to be noted, if it left anything out.
func (s timetable) logLeftOut(name string, o scheduler.Occurrence, c store.Cursor) {
	switch {
	case c.Why == "": // counting begins
	case o.Kind == scheduler.Skipped:
		s.log.Warn("due runs were left out", "dispatcher", name, "due", o.Due, "missed", o.Missed, "reason", c.Why)
	default:
		s.log.Info("a due run was left out", "dispatcher", name, "due", o.Due, "reason", c.Why, "skipped", c.Skipped)
	}
}

// moveCursor records where a schedule stands when no job's record does.
func (s timetable) moveCursor(name string, to store.Cursor) {
	s.record(store.Record{Op: store.OpCursor, Dispatcher: name, At: to.At, Cursor: &to}, mode.Relaxed, false, nil)
}

// notifyAtStart asks for a run of what is to run whenever the daemon starts.
func (b *backend) notifyAtStart() {
	for _, spec := range b.catalog.Load().Specs {
		if spec.OnStart {
			go b.notifyBySelf(spec)
		}
	}
}

// notifyBySelf asks for a run at the start, that nobody waits for.
func (b *backend) notifyBySelf(spec *dispatchers.Spec) {
	_, err := b.Notify(context.Background(), self(), ipc.NotifyRequest{Dispatcher: spec.Name, Origin: ipc.OriginStart})
	if err != nil {
		b.log.Warn("a run was refused", "dispatcher", spec.Name, "origin", string(ipc.OriginStart), "error", err)
	}
}

// self is the daemon as a peer of its own.
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
		for e := range scheduling(s).scheduled(s.catalog.Load()) {
			if q.Dispatcher == "" || q.Dispatcher == e.Name {
				v := s.planner.View(e, q.Next)
				v.LastRun = viewing(s).lastRun(e.Name)
				list = append(list, v)
			}
		}
	})
	return list, err
}
