package schedules

import (
	"time"

	"dispatchd/dispatchers"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
	"dispatchd/scheduler"
)

// Verdict is what becomes of an occurrence.
type Verdict uint8

// The verdicts.
const (
	Ignore Verdict = iota // nothing: it was dealt with before, or the next daemon will
	Note                  // the cursor moves, no job is made; Cursor.Why says why
	Submit                // a job is submitted, by the same door as a client's
	Refuse                // as Note, and the dispatcher's refused jobs are counted and logged
)

// Decision is the answer to one occurrence.
type Decision struct {
	Verdict Verdict
	Origin  ipc.Origin // of the job to Submit
	Err     error      // why Refuse
	Cursor  Cursor     // where the schedule stands then; not of Ignore
	Unran   Cursor     // of Submit: what Refused is given should the queue refuse the job
}

// Standing is how a dispatcher stands at the moment of a decision.
type Standing struct {
	Cursor  *Cursor // nil = its schedule has never been dealt with
	Running int     // active runs
	Pending bool    // a job of an earlier due time has not started yet
	Leaving bool    // the daemon stops, or hands over to its next version
	At      time.Time
	Offset  time.Duration // its share of its jitter on this machine
}

// Admit decides what becomes of one occurrence of a dispatcher. unfit is why
// no job of it could run, or nil: a package is missing, an include could have
// been written by others. Admit is a function of what it is given.
func Admit(s *dispatchers.Spec, o scheduler.Occurrence, at Standing, unfit error) Decision {
	if at.Leaving {
		return Decision{} // the next daemon catches it up
	}
	next, ok := nextCursor(s, o, at)
	if !ok {
		return Decision{}
	}
	fires := o.Due.Add(at.Offset).UnixNano()
	note := func(why string) Decision {
		next.Why, next.WhyDue = why, fires
		return Decision{Verdict: Note, Cursor: next}
	}
	skip := func(why string) Decision {
		next.Skipped++
		next.SkippedAt = fires
		return note(why)
	}
	switch {
	case o.Kind == scheduler.Skipped:
		return note("passed while the daemon was down or the machine asleep, and catch_up is none")
	case !wantsRun(o):
		next.Begun = true
		return Decision{Verdict: Note, Cursor: next}
	case unfit != nil:
		next.WhyDue = fires
		return Decision{Verdict: Refuse, Err: unfit, Cursor: Refused(next, unfit)}
	case s.Overlap == mode.OverlapSkip && at.Running > 0:
		return skip("a run was active, and overlap is skip")
	case at.Pending && !(o.Kind == scheduler.CaughtUp && s.CatchUp == scheduler.All):
		return skip("the run of an earlier due time has not started yet, and serves this one too")
	}
	d := Decision{Verdict: Submit, Origin: ipc.OriginSchedule, Cursor: next, Unran: next}
	if o.Kind == scheduler.CaughtUp {
		d.Origin = ipc.OriginCatchUp
	}
	d.Cursor.Ran, d.Unran.WhyDue = fires, fires
	return d
}

// Refused is the cursor after an occurrence whose job was refused: by Admit, or
// by the queue after Admit had let it through.
func Refused(c Cursor, err error) Cursor {
	c.Refused++
	c.Why = err.Error()
	return c
}

// nextCursor is where the schedule stands after an occurrence. False: it is past
// that occurrence already, as after a deferred one that came too late. Only a
// clock that was set back by hours moves it back.
func nextCursor(s *dispatchers.Spec, o scheduler.Occurrence, at Standing) (Cursor, bool) {
	next := Cursor{Due: o.Last.UnixNano(), Plan: planID(s), At: at.At.UnixNano(), Missed: int64(o.Missed), More: o.More}
	last := at.Cursor
	if last == nil || last.Plan != next.Plan {
		return next, true
	}
	if last.Due > next.Due && o.Kind != scheduler.Reset {
		return Cursor{}, false
	}
	next.Missed += last.Missed
	next.More = next.More || last.More
	next.Refused, next.Skipped, next.SkippedAt = last.Refused, last.Skipped, last.SkippedAt
	next.Ran = last.LastRan(int64(at.Offset))
	return next, true
}

// Out is the cursor of a schedule that is not in force from at on; false: it says
// so already.
func Out(c Cursor, at time.Time) (Cursor, bool) {
	if c.Out != 0 {
		return c, false
	}
	c.Out = at.UnixNano()
	return c, true
}
