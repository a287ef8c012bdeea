package queue

import (
	"slices"
	"time"
)

// busyPause is how long a lock that is held from outside is left alone.
const busyPause = time.Second

// Started answers a Start: the owner has all locks of the job, and the attempt
// runs, or is certain to have an end. The locks that this start tried, because
// a process outside held them, are free for others again.
func (c *Core) Started(now time.Duration, id ID) ([]Effect, error) {
	j, err := c.expect("Started", id, starting)
	if err != nil {
		return nil, err
	}
	c.at(now)
	j.state = running
	if c.locks.confirm(j) {
		c.change()
	}
	return c.reschedule(now, nil), nil
}

// Ended tells that a started attempt is over. It is followed by another one if
// it is retryable, there are some left, and nobody canceled the job.
func (c *Core) Ended(now time.Duration, id ID, retryable bool) ([]Effect, error) {
	j, err := c.expect("Ended", id, running)
	if err != nil {
		return nil, err
	}
	c.at(now)
	j.d.history.add(c.now - j.since)
	c.revertStart(j)
	j.attempt++
	j.started = true
	if !retryable || j.canceled || int(j.attempt) > j.d.rules.Retries {
		c.queued-- // revertStart counted it as queued
		c.delete(j)
		return c.reschedule(now, []Effect{Finish{id}}), nil
	}
	after := j.d.rules.pause(int(j.attempt))
	if after > 0 {
		c.delay(j, backoff, c.now+after)
	} else {
		c.enqueue(j)
	}
	return c.reschedule(now, []Effect{Requeue{ID: id, Attempt: int(j.attempt), After: after}}), nil
}

// pause is the wait after the given attempt: doubled each time, capped.
func (r *Rules) pause(attempt int) time.Duration {
	const longest = time.Duration(1) << 52 // 52 days: beyond it doubling is pointless, and would overflow
	p := max(0, r.Backoff)
	for i := 1; i < attempt && p > 0 && p < longest; i++ {
		if r.MaxBackoff > 0 && p >= r.MaxBackoff {
			break
		}
		p *= 2
	}
	if r.MaxBackoff > 0 {
		p = min(p, r.MaxBackoff)
	}
	return p
}

// Busy answers a Start that could not be. The job goes back to its place, as if
// it had never started. What was missing is tried again after a second, by one
// job.
//
// A supervisor may die after Started and before it has made its child: nothing
// has run then, so Busy with NoResources takes back a started attempt as well.
func (c *Core) Busy(now time.Duration, id ID, r Reason) ([]Effect, error) {
	want := []state{starting, running}
	if r.Kind != NoResources {
		want = want[:1]
	}
	j, err := c.expect("Busy", id, want...)
	if err != nil {
		return nil, err
	}
	c.at(now)
	c.revertStart(j)
	c.locks.block(c.now, j, r)
	if j.canceled { // between Start and this answer
		c.queued--
		c.delete(j)
		return c.reschedule(now, []Effect{Drop{id}}), nil
	}
	c.makeJoinable(j)
	c.enqueue(j)
	return c.reschedule(now, nil), nil
}

// Rerun takes back a run whose end is not known, or that never began: the job
// returns to its place. What was lost counts as an attempt, what never began
// does not. A job that was canceled is finished. It answers a Start, or comes
// in the place of Ended.
func (c *Core) Rerun(now time.Duration, id ID, counts bool) ([]Effect, error) {
	j, err := c.expect("Rerun", id, starting, running)
	if err != nil {
		return nil, err
	}
	c.at(now)
	c.revertStart(j)
	if counts {
		j.attempt++
		j.started = true
	}
	if j.canceled {
		c.queued--
		c.delete(j)
		return c.reschedule(now, []Effect{Finish{id}}), nil
	}
	c.makeJoinable(j)
	c.enqueue(j)
	return c.reschedule(now, []Effect{Requeue{ID: id, Attempt: int(j.attempt)}}), nil
}

// makeJoinable makes a job that never started joinable again.
func (c *Core) makeJoinable(j *job) {
	if !j.started && j.d.rules.joins() && j.d.keys[j.key] == nil {
		j.d.keys[j.key], j.joinable = j, true
	}
}

// Cancel ends a queued job, or stops an active one, which ends with Ended, as
// always. To cancel it once more changes nothing. A job that is not known is
// a StateError.
func (c *Core) Cancel(now time.Duration, id ID) ([]Effect, error) {
	j := c.jobs[id]
	if j == nil {
		return nil, c.outOfTurn("Cancel", id)
	}
	c.at(now)
	switch {
	case !j.active():
		c.removeQueued(j)
		return c.reschedule(now, []Effect{Drop{id}}), nil
	case j.canceled:
		return nil, nil
	}
	j.canceled = true
	return []Effect{Stop{id}}, nil
}

// Withdraw forgets a job as if it had never been accepted: its acceptance
// could not be made durable. The owner has seen to its run, if there was one.
// It is never out of turn: the job may have ended before the journal failed.
func (c *Core) Withdraw(now time.Duration, id ID) []Effect {
	c.at(now)
	j := c.jobs[id]
	if j == nil {
		return nil
	}
	if j.active() {
		c.revertStart(j)
		c.queued--
		c.delete(j)
	} else {
		c.removeQueued(j)
	}
	return c.reschedule(now, nil)
}

// Relock gives a queued job the locks of a new definition. An active one keeps
// what it holds. The next Tick acts on it.
func (c *Core) Relock(now time.Duration, id ID, locks []Lock) error {
	j := c.jobs[id]
	if j == nil {
		return c.outOfTurn("Relock", id)
	}
	c.at(now)
	if j.active() || j.locks.same(locks) {
		return nil
	}
	if j.d.locks == nil || !j.d.locks.same(locks) {
		j.d.locks = newLockset(locks)
	}
	j.locks = j.d.locks
	c.change()
	return nil
}

// start makes a ready job a starting one.
func (c *Core) start(j *job) {
	c.leave(j)
	c.unkey(j)
	c.markRunning(j, starting)
	c.locks.probe(j)
}

// markRunning gives a job that has no place any more a slot and its locks.
func (c *Core) markRunning(j *job, s state) {
	j.state, j.since = s, c.now
	j.d.running = append(j.d.running, j)
	c.queued--
	c.running++
	c.locks.acquire(j)
	c.obstacleCache = nil
}

// revertStart takes a run back: locks and slot are free, the job counts as queued
// and has no place yet.
func (c *Core) revertStart(j *job) {
	c.locks.release(j)
	c.locks.unprobe(j)
	j.d.running = slices.DeleteFunc(j.d.running, func(o *job) bool { return o == j })
	c.running--
	c.queued++
	c.change()
}

// removeQueued removes a queued job.
func (c *Core) removeQueued(j *job) {
	c.leave(j)
	c.queued--
	c.delete(j)
}

// delete removes a job that has no place any more.
func (c *Core) delete(j *job) {
	c.unkey(j)
	delete(c.jobs, j.id)
	delete(c.locks.blocked, j)
	c.obstacleCache = nil
	c.forget(j.d)
}

// unkey makes a job no longer joinable.
func (c *Core) unkey(j *job) {
	if j.joinable {
		delete(j.d.keys, j.key)
		j.joinable = false
	}
}
