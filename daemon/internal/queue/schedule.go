package queue

import "time"

// Tick does what time alone makes due: jobs expire, delays end, what a start was
// missing is tried again. The first one after a Restore ends the restoring.
func (c *Core) Tick(now time.Duration) []Effect {
	c.restoring = false
	return c.reschedule(now, nil)
}

// Next is the instant at which Tick has something to do. It may be past. Without
// one, nothing happens before the next event.
func (c *Core) Next() (time.Duration, bool) {
	at, found := time.Duration(0), false
	sooner := func(t time.Duration, ok bool) {
		if ok && (!found || t < at) {
			at, found = t, true
		}
	}
	if t, ok := c.pending.timers.next(); ok {
		sooner(t.at, true)
	}
	if c.frozen {
		return at, found
	}
	sooner(c.now, c.pending.dirty)
	t, ok := c.locks.external.retry()
	sooner(t, ok)
	return at, found
}

// reschedule brings everything up to date after an event: first what is due,
// then what may start. During a restore it waits for the Tick, so that nothing
// starts before every earlier job is in its place.
func (c *Core) reschedule(now time.Duration, effects []Effect) []Effect {
	c.at(now)
	if c.restoring {
		return effects
	}
	effects = c.advance(effects)
	if t, ok := c.locks.external.retry(); ok && t <= c.now {
		c.pending.change()
	}
	if c.pending.dirty && !c.frozen {
		effects = c.schedulingPass(effects)
	}
	return effects
}

// advance expires jobs and ends delays that are due.
func (c *Core) advance(effects []Effect) []Effect {
	for {
		t, ok := c.pending.timers.next()
		if !ok || t.at > c.now {
			return effects
		}
		j := t.job
		if at, ok := j.expiry(); ok && at <= c.now {
			waited := c.reason(j)
			c.removeQueued(j)
			effects = append(effects, Expire{j.id, waited})
			continue
		}
		c.pending.leave(j)
		c.pending.enqueue(j)
	}
}

// schedulingPass starts what may start. It looks at all candidates in the order
// in which they were accepted; one that cannot start claims its locks, so that
// none after it takes what it waits for.
func (c *Core) schedulingPass(effects []Effect) []Effect {
	c.scratch = c.dispatchers.candidates(c.scratch[:0])
	for _, j := range c.scratch {
		if _, blocked := c.locks.obstacle(c.now, j); blocked || c.limits.free(c.active) <= 0 {
			c.locks.claim(j)
			continue
		}
		c.pending.leave(j)
		c.activate(j, starting)
		c.locks.external.probe(j)
		effects = append(effects, Start{ID: j.id, Attempt: int(j.attempt) + 1})
	}
	c.locks.endPass()
	clear(c.scratch) // the array must not keep jobs alive
	c.locks.external.lapse(c.now)
	c.pending.dirty = false // what started has left its fifo, and this pass has seen that
	return effects
}

// obstacles is a pass that starts nothing: it tells of each candidate what keeps
// it. The answer is kept until something changes.
func (c *Core) obstacles() map[*job]obstacle {
	if c.pending.obstacleCache != nil {
		return c.pending.obstacleCache
	}
	found := map[*job]obstacle{}
	c.scratch = c.dispatchers.candidates(c.scratch[:0])
	for _, j := range c.scratch {
		o, blocked := c.locks.obstacle(c.now, j)
		if !blocked { // no slot is free, or nothing may start now
			o.reason = waitSlot
		}
		c.locks.claim(j)
		found[j] = o
	}
	c.locks.endPass()
	clear(c.scratch) // the array must not keep jobs alive
	c.pending.obstacleCache = found
	return found
}
