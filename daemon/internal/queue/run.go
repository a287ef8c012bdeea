package queue

import (
	"slices"
	"time"
)

// busyPause is how long a lock that is held from outside is left alone.
const busyPause = time.Second

// Ended tells that a run is over. It is followed by another attempt if it is
// retryable, there are some left, and nobody canceled the job.
func (c *Core) Ended(now time.Duration, id ID, retryable bool) []Effect {
	c.at(now)
	j := c.jobs[id]
	if j == nil || j.state != running {
		return nil
	}
	j.d.history.add(c.now - j.since)
	c.revertStart(j)
	j.attempt++
	j.started = true
	if !retryable || j.canceled || int(j.attempt) > j.d.rules.Retries {
		c.queued-- // revertStart counted it as queued
		c.delete(j)
		return c.reschedule(now, []Effect{Finish{id}})
	}
	after := j.d.rules.pause(int(j.attempt))
	if after > 0 {
		c.delay(j, backoff, c.now+after)
	} else {
		c.enqueue(j)
	}
	return c.reschedule(now, []Effect{Requeue{ID: id, Attempt: int(j.attempt), After: after}})
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

// Busy is the answer to a Start that could not take a lock on disk, because a
// process outside holds it. The job goes back to its place, as if it had never
// started. The lock is tried again after a second, by one job.
func (c *Core) Busy(now time.Duration, id ID, lock string, pid int) []Effect {
	c.at(now)
	j := c.jobs[id]
	if j == nil || j.state != running {
		return nil
	}
	c.revertStart(j)
	c.locks.block(c.now, j, lock, pid)
	if j.canceled { // between Start and this answer
		c.queued--
		c.delete(j)
		return c.reschedule(now, []Effect{Drop{id}})
	}
	c.makeJoinable(j)
	c.enqueue(j)
	return c.reschedule(now, nil)
}

// Rerun takes back a run whose end is not known, or that never began: the job
// returns to its place. What was lost counts as an attempt, what never began
// does not. A job that was canceled is finished.
func (c *Core) Rerun(now time.Duration, id ID, counts bool) []Effect {
	c.at(now)
	j := c.jobs[id]
	if j == nil || j.state != running {
		return nil
	}
	c.revertStart(j)
	if counts {
		j.attempt++
		j.started = true
	}
	if j.canceled {
		c.queued--
		c.delete(j)
		return c.reschedule(now, []Effect{Finish{id}})
	}
	c.makeJoinable(j)
	c.enqueue(j)
	return c.reschedule(now, []Effect{Requeue{ID: id, Attempt: int(j.attempt)}})
}

// makeJoinable makes a job that never started joinable again.
func (c *Core) makeJoinable(j *job) {
	if !j.started && j.d.rules.joins() && j.d.keys[j.key] == nil {
		j.d.keys[j.key], j.joinable = j, true
	}
}

// Cancel ends a queued job, or stops a running one. It reports whether the job
// is known. A running one ends with Ended, as always.
func (c *Core) Cancel(now time.Duration, id ID) ([]Effect, bool) {
	c.at(now)
	j := c.jobs[id]
	switch {
	case j == nil:
		return nil, false
	case j.state != running:
		c.removeQueued(j)
		return c.reschedule(now, []Effect{Drop{id}}), true
	case j.canceled:
		return nil, true
	}
	j.canceled = true
	return []Effect{Stop{id}}, true
}

// Withdraw forgets a job as if it had never been accepted: its acceptance
// could not be made durable. The owner has seen to its run, if there was one.
func (c *Core) Withdraw(now time.Duration, id ID) []Effect {
	c.at(now)
	j := c.jobs[id]
	if j == nil {
		return nil
	}
	if j.state == running {
		c.revertStart(j)
		c.queued--
		c.delete(j)
	} else {
		c.removeQueued(j)
	}
	return c.reschedule(now, nil)
}

// Relock gives a queued job the locks of a new definition. A running one keeps
// what it holds. The next Tick acts on it.
func (c *Core) Relock(now time.Duration, id ID, locks []Lock) {
	c.at(now)
	j := c.jobs[id]
	if j == nil || j.state == running || j.locks.same(locks) {
		return
	}
	if j.d.locks == nil || !j.d.locks.same(locks) {
		j.d.locks = newLockset(locks)
	}
	j.locks = j.d.locks
	c.change()
}

// markRunning makes a ready job a running one.
func (c *Core) markRunning(j *job) {
	c.leave(j)
	c.unkey(j)
	c.begin(j)
	c.locks.try(j)
}

// begin gives a job that has no place any more a run.
func (c *Core) begin(j *job) {
	j.state, j.since = running, c.now
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
