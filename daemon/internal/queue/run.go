package queue

import (
	"slices"
	"time"
)

// Started answers a Start: the owner has all locks of the job, and the attempt
// runs, or is certain to have an end. What the start tried because it was
// missing before is free for others again.
func (c *Core) Started(now time.Duration, id ID) ([]Effect, error) {
	j, err := c.expect("Started", id, starting)
	if err != nil {
		return nil, err
	}
	c.at(now)
	j.state = running
	if c.locks.external.confirm(j) {
		c.pending.change()
	}
	return c.reschedule(now, nil), nil
}

// Busy answers a Start that could not be. The job goes back to its place, as if
// it had never started. What was missing is tried again after a second, by one
// job.
//
// A supervisor may die, or lack something, after Started and before it has made its
// child: nothing has run then, so Busy with NoResources or NoRoom takes back a
// started attempt as well.
func (c *Core) Busy(now time.Duration, id ID, r Reason) ([]Effect, error) {
	states := []state{starting, running}
	if r.Kind != NoResources && r.Kind != NoRoom {
		states = states[:1]
	}
	j, err := c.expect("Busy", id, states...)
	if err != nil {
		return nil, err
	}
	c.at(now)
	c.deactivate(j)
	c.locks.external.block(c.now, j, r)
	if j.canceled { // between Start and this answer
		c.delete(j)
		return c.reschedule(now, []Effect{Drop{id}}), nil
	}
	j.makeJoinable()
	c.pending.enqueue(j)
	return c.reschedule(now, nil), nil
}

// Rerun takes back an attempt whose end is not known, or that never began: the
// job returns to its place. What was lost counts as an attempt, what never began
// does not. A job that was canceled is finished. Rerun answers a Start, or comes
// in the place of Ended.
func (c *Core) Rerun(now time.Duration, id ID, counts bool) ([]Effect, error) {
	j, err := c.expect("Rerun", id, starting, running)
	if err != nil {
		return nil, err
	}
	c.at(now)
	c.deactivate(j)
	if counts {
		j.attempt++
		j.started = true
	}
	if j.canceled {
		c.delete(j)
		return c.reschedule(now, []Effect{Finish{id}}), nil
	}
	j.makeJoinable()
	c.pending.enqueue(j)
	return c.reschedule(now, []Effect{Requeue{ID: id, Attempt: int(j.attempt)}}), nil
}

// Ended tells that a started attempt is over. It is followed by another one if
// it is retryable, there are some left, and the job was not canceled.
func (c *Core) Ended(now time.Duration, id ID, retryable bool) ([]Effect, error) {
	j, err := c.expect("Ended", id, running)
	if err != nil {
		return nil, err
	}
	c.at(now)
	j.d.history.add(c.now - j.since)
	c.deactivate(j)
	j.attempt++
	j.started = true
	if !retryable || j.canceled || int(j.attempt) > j.d.rules.Retries {
		c.delete(j)
		return c.reschedule(now, []Effect{Finish{id}}), nil
	}
	after := j.d.rules.pause(int(j.attempt))
	if after > 0 {
		c.pending.delay(j, backoff, c.now+after)
	} else {
		c.pending.enqueue(j)
	}
	return c.reschedule(now, []Effect{Requeue{ID: id, Attempt: int(j.attempt), After: after}}), nil
}

// Cancel ends a queued job, or stops an active one, which ends with Ended, as
// always. To cancel it once more changes nothing. A job that is not known is
// a StateError.
func (c *Core) Cancel(now time.Duration, id ID) ([]Effect, error) {
	j := c.jobs[id]
	switch {
	case j == nil:
		return nil, outOfTurn("Cancel", id, nil)
	case j.canceled:
		return nil, nil
	}
	c.at(now)
	if j.active() {
		j.canceled = true
		return []Effect{Stop{id}}, nil
	}
	c.removeQueued(j)
	return c.reschedule(now, []Effect{Drop{id}}), nil
}

// Withdraw forgets a job as if it had never been accepted: its acceptance
// could not be made durable. The owner has seen to its run, if there was one.
// It is never out of turn: the job may have ended before the journal failed.
func (c *Core) Withdraw(now time.Duration, id ID) []Effect {
	c.at(now)
	j := c.jobs[id]
	switch {
	case j == nil:
		return nil
	case j.active():
		c.deactivate(j)
		c.delete(j)
	default:
		c.removeQueued(j)
	}
	return c.reschedule(now, nil)
}

// Relock gives a queued job the locks of a new definition. An active one keeps
// what it holds. The next Tick acts on it.
func (c *Core) Relock(now time.Duration, id ID, locks []Lock) error {
	j := c.jobs[id]
	if j == nil {
		return outOfTurn("Relock", id, nil)
	}
	c.at(now)
	if !j.active() && !j.locks.same(locks) {
		j.locks = j.d.lockset(locks)
		c.pending.change()
	}
	return nil
}

// activate gives a job that has no place any more a slot and its locks.
func (c *Core) activate(j *job, s state) {
	j.unkey()
	j.state, j.since = s, c.now
	j.d.active = append(j.d.active, j)
	c.active++
	c.locks.acquire(j)
	c.pending.obstacleCache = nil
}

// deactivate takes slot and locks back. The job has no place then: it is
// enqueued, delayed or deleted next.
func (c *Core) deactivate(j *job) {
	c.locks.release(j)
	c.locks.external.unprobe(j)
	j.d.active = slices.DeleteFunc(j.d.active, func(o *job) bool { return o == j })
	c.active--
	c.pending.change()
}

// removeQueued ends a queued job.
func (c *Core) removeQueued(j *job) {
	c.pending.leave(j)
	c.delete(j)
}

// delete forgets a job that has no place any more.
func (c *Core) delete(j *job) {
	j.unkey()
	delete(c.jobs, j.id)
	delete(c.locks.external.blocked, j)
	c.pending.obstacleCache = nil
	c.dispatchers.forget(j.d)
}
