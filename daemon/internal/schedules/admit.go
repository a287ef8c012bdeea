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
}

// Standing is how a dispatcher stands at the moment of a decision.
type Standing struct {
	Cursor  *Cursor // nil = its schedule has never been dealt with
	Running int     // active runs
	Leaving bool    // the daemon stops
	At      time.Time
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
	note := func(why string) Decision {
		next.Why = why
		return Decision{Verdict: Note, Cursor: next}
	}
	switch {
	case o.Kind == scheduler.Skipped:
		return note("passed while the daemon was down or the machine asleep, and catch_up is none")
	case !wantsRun(o):
		return note("")
	case unfit != nil:
		return Decision{Verdict: Refuse, Err: unfit, Cursor: Refused(next, unfit)}
	case s.Overlap == mode.OverlapSkip && at.Running > 0:
		return note("a run was active, and overlap is skip")
	case o.Kind == scheduler.CaughtUp:
		return Decision{Verdict: Submit, Origin: ipc.OriginCatchUp, Cursor: next}
	}
	return Decision{Verdict: Submit, Origin: ipc.OriginSchedule, Cursor: next}
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
	next := Cursor{Due: o.Last.UnixNano(), Plan: planID(s), At: at.At.UnixNano(), Missed: int64(o.Missed)}
	last := at.Cursor
	if last == nil || last.Plan != next.Plan {
		return next, true
	}
	if last.Due > next.Due && o.Kind != scheduler.Reset {
		return Cursor{}, false
	}
	next.Missed += last.Missed
	next.Refused = last.Refused
	return next, true
}
