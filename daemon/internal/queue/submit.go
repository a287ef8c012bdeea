package queue

import "time"

// Submission is a notify on its way in.
type Submission struct {
	ID         ID
	Dispatcher string
	Key        string // what is compared for coalescing
	Locks      []Lock
}

// Restored is a queued job of an earlier life of the daemon.
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
	if c.jobs[s.ID] != nil {
		return Verdict{}, nil, c.outOfTurn("Submit", s.ID)
	}
	d := c.dispatchers[s.Dispatcher]
	if d == nil || d.removed {
		return Verdict{Refused: RefusedUnknown}, nil, nil
	}
	if c.draining {
		return Verdict{Refused: RefusedDraining}, nil, nil
	}
	if j := d.coalesceTarget(s); j != nil {
		v, effects := c.coalesce(now, j)
		return v, effects, nil
	}
	if d.rules.MaxQueue > 0 && d.outstanding() >= d.rules.MaxQueue {
		return Verdict{Refused: RefusedFull, RetryAfter: c.RetryAfter(now, s.Dispatcher)}, nil, nil
	}
	if c.limits.MaxOutstanding > 0 && len(c.jobs) >= c.limits.MaxOutstanding {
		return Verdict{Refused: RefusedAll, RetryAfter: c.RetryAfter(now, s.Dispatcher)}, nil, nil
	}
	c.at(now)
	j := c.admit(d, s)
	j.accepted = c.now
	c.enqueueOrDelay(j)
	return Verdict{ID: j.id, Position: c.position(j)}, c.reschedule(now, nil), nil
}

// coalesceTarget is the queued job that a submission joins, or nil.
func (d *dispatcher) coalesceTarget(s Submission) *job {
	if !d.rules.joins() {
		return nil
	}
	return d.keys[s.Key]
}

// coalesce adds a notify to a queued job. It takes no place; with debounce the
// quiet begins anew.
func (c *Core) coalesce(now time.Duration, j *job) (Verdict, []Effect) {
	c.at(now)
	if j.d.rules.Debounce > 0 && j.joinable {
		c.leave(j)
		c.enqueueOrDelay(j)
	}
	return Verdict{Joined: true, ID: j.id, Position: c.position(j)}, c.reschedule(now, nil)
}

// Restore takes a job of an earlier life back, in the order of the calls and
// above all limits: it was accepted. Nothing starts before the next Tick, so it
// has no effects. An id that is known is a StateError.
func (c *Core) Restore(now time.Duration, r Restored) error {
	if c.jobs[r.ID] != nil {
		return c.outOfTurn("Restore", r.ID)
	}
	c.at(now)
	c.restoring = true
	d := c.dispatchers[r.Dispatcher]
	if d == nil { // its definition is gone; its jobs are not
		c.Define(now, Rules{Name: r.Dispatcher})
		d = c.dispatchers[r.Dispatcher]
		d.removed = true
	}
	j := c.admit(d, r.Submission)
	j.accepted = c.now - r.Waited
	j.attempt, j.started = int32(r.Attempt), r.Started || r.Attempt > 0
	if r.Running {
		j.attempt, j.started = int32(max(0, r.Attempt-1)), r.Attempt > 1
		c.markRunning(j, running)
		j.since = c.now - r.Ran
		c.change()
		return nil
	}
	if r.BackoffLeft > 0 {
		c.delay(j, backoff, c.now+r.BackoffLeft)
	} else {
		c.enqueueOrDelay(j)
	}
	c.change() // so that Next asks for the Tick
	return nil
}

// admit makes the job and counts it. Its place comes next.
func (c *Core) admit(d *dispatcher, s Submission) *job {
	if d.locks == nil || !d.locks.same(s.Locks) {
		d.locks = newLockset(s.Locks)
	}
	c.seq++
	j := &job{id: s.ID, seq: c.seq, d: d, key: s.Key, locks: d.locks, slot: noSlot}
	c.jobs[j.id] = j
	c.queued++
	return j
}

// enqueueOrDelay gives a job that never started, or starts anew, its place: in the line,
// or in debounce before it.
func (c *Core) enqueueOrDelay(j *job) {
	r := &j.d.rules
	if !j.started && r.joins() {
		if j.d.keys[j.key] == nil {
			j.d.keys[j.key], j.joinable = j, true
		}
		if at := j.quiet(c.now); at > c.now {
			c.delay(j, debounce, at)
			return
		}
	}
	c.enqueue(j)
}

// quiet is the instant at which a job notified now may start: after the quiet
// time, and not later than the cap after its first notify.
func (j *job) quiet(now time.Duration) time.Duration {
	r := &j.d.rules
	longest := r.DebounceMax
	if longest <= 0 {
		longest = 10 * r.Debounce
	}
	return min(now+r.Debounce, j.accepted+longest)
}

// enqueue puts a job into its dispatcher's line.
func (c *Core) enqueue(j *job) {
	j.state = ready
	j.d.fifo.add(j)
	c.arm(j)
	// Behind the window it changes nothing for anybody: no pass is due.
	if i, _ := j.d.fifo.find(j.seq); i < j.d.window() {
		c.change()
	}
}

// delay puts a job aside until an instant.
func (c *Core) delay(j *job, s state, until time.Duration) {
	j.state, j.notBefore = s, until
	j.d.delayed++
	c.arm(j)
}

// leave takes a queued job out of wherever it waits.
func (c *Core) leave(j *job) {
	switch j.state {
	case ready:
		// What was behind the window may come into it.
		if i, _ := j.d.fifo.find(j.seq); i < j.d.window() {
			c.change()
		}
		j.d.fifo.drop(j)
	case debounce, backoff:
		j.d.delayed--
	}
	c.timers.clear(j)
}

// arm sets a queued job's timer: its expiry or the end of its delay.
func (c *Core) arm(j *job) {
	at, ok := j.expiry()
	if j.state == debounce || j.state == backoff {
		if !ok || j.notBefore < at {
			at, ok = j.notBefore, true
		}
	}
	if ok {
		c.timers.set(j, at)
	} else {
		c.timers.clear(j)
	}
}

// expiry is the instant at which a job has waited too long.
func (j *job) expiry() (time.Duration, bool) {
	limit := j.d.rules.QueueTimeout
	return j.accepted + limit, limit > 0 && !j.started
}
