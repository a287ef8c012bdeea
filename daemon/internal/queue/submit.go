package queue

import "time"

// Submission is a notify on its way in.
type Submission struct {
	ID         ID
	Dispatcher string
	Key        string // what is compared for coalescing
	Locks      []Lock
}

// Restored is an outstanding job of an earlier life of the daemon.
type Restored struct {
	Submission
	Waited      time.Duration // since it was accepted
	Attempt     int           // attempts that have ended
	BackoffLeft time.Duration
	Started     bool // it ran before
	Running     bool // it still runs, for Ran by now; Attempt counts this one
	Ran         time.Duration
}

// Refusal is why a submission is not accepted.
type Refusal string

// The refusals.
const (
	RefusedUnknown  Refusal = "unknown"
	RefusedFull     Refusal = "full"
	RefusedDraining Refusal = "draining"
	RefusedAll      Refusal = "all" // Limits.MaxOutstanding
)

// Verdict is the answer to a submission.
type Verdict struct {
	Refused    Refusal // "" = accepted or joined
	RetryAfter time.Duration
	Joined     bool
	ID         ID  // the job's own, or that of the job it joined
	Position   int // in its dispatcher's queue, from 1
}

// Submit accepts a job, lets it join a queued one, or refuses it. A refusal
// changes nothing and has no effects. An id that is known is a StateError: an
// id has one job.
func (c *Core) Submit(now time.Duration, s Submission) (Verdict, []Effect, error) {
	if j := c.jobs[s.ID]; j != nil {
		return Verdict{}, nil, outOfTurn("Submit", s.ID, j)
	}
	d := c.dispatchers.byName[s.Dispatcher]
	if d == nil || d.removed {
		return Verdict{Refused: RefusedUnknown}, nil, nil
	}
	if c.draining {
		return Verdict{Refused: RefusedDraining}, nil, nil
	}
	if d.rules.joins() && d.keys[s.Key] != nil {
		v, effects := c.coalesce(now, d.keys[s.Key])
		return v, effects, nil
	}
	if d.rules.MaxQueue > 0 && d.outstanding() >= d.rules.MaxQueue {
		return Verdict{Refused: RefusedFull, RetryAfter: d.retryAfter(now)}, nil, nil
	}
	if c.limits.full(len(c.jobs)) {
		return Verdict{Refused: RefusedAll, RetryAfter: d.retryAfter(now)}, nil, nil
	}
	c.at(now)
	j := c.admit(d, s)
	j.accepted = c.now
	c.pending.enqueueOrDelay(c.now, j)
	return Verdict{ID: j.id, Position: j.position()}, c.reschedule(now, nil), nil
}

// Joinable is the queued job that a notify with this key would join now. False:
// there is none, and Submit accepts a new one or refuses it.
func (c *Core) Joinable(dispatcher, key string) (ID, bool) {
	d := c.dispatchers.byName[dispatcher]
	if d == nil || d.removed || c.draining || !d.rules.joins() || d.keys[key] == nil {
		return ID{}, false
	}
	return d.keys[key].id, true
}

// coalesce adds a notify to a queued job. It takes no place; with debounce the
// quiet begins anew.
func (c *Core) coalesce(now time.Duration, j *job) (Verdict, []Effect) {
	c.at(now)
	if j.d.rules.Debounce > 0 {
		c.pending.leave(j)
		c.pending.enqueueOrDelay(c.now, j)
	}
	return Verdict{Joined: true, ID: j.id, Position: j.position()}, c.reschedule(now, nil)
}

// Restore takes a job of an earlier life back, in the order of the calls and
// above all limits: it was accepted. Nothing starts before the next Tick, so it
// has no effects. An id that is known is a StateError.
func (c *Core) Restore(now time.Duration, r Restored) error {
	if j := c.jobs[r.ID]; j != nil {
		return outOfTurn("Restore", r.ID, j)
	}
	c.at(now)
	c.restoring = true
	j := c.admit(c.dispatchers.ensure(r.Dispatcher), r.Submission) // its definition may be gone
	j.accepted = c.now - r.Waited
	j.attempt, j.started = int32(r.Attempt), r.Started || r.Attempt > 0
	switch {
	case r.Running:
		j.attempt, j.started = int32(max(0, r.Attempt-1)), r.Attempt > 1
		c.activate(j, running) // it has no Start to be answered
		j.since = c.now - r.Ran
	case r.BackoffLeft > 0:
		c.pending.delay(j, backoff, c.now+r.BackoffLeft)
	default:
		c.pending.enqueueOrDelay(c.now, j)
	}
	c.pending.change() // so that Next asks for the Tick
	return nil
}

// admit makes the job. Its place comes next.
func (c *Core) admit(d *dispatcher, s Submission) *job {
	c.seq++
	j := &job{id: s.ID, seq: c.seq, d: d, key: s.Key, locks: d.lockset(s.Locks), slot: noSlot}
	c.jobs[j.id] = j
	return j
}
