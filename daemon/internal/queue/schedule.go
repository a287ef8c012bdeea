package queue

import (
	"cmp"
	"slices"
	"time"
)

// Tick does what time alone makes due: jobs expire, delays end, locks held
// from outside are tried again.
func (c *Core) Tick(now time.Duration) []Effect {
	c.restoring = false
	return c.reschedule(now, nil)
}

// Next is the instant at which Tick has something to do. It may be past.
func (c *Core) Next() (time.Duration, bool) {
	at, found := time.Duration(0), false
	sooner := func(t time.Duration, ok bool) {
		if ok && (!found || t < at) {
			at, found = t, true
		}
	}
	if t, ok := c.timers.next(); ok {
		sooner(t.at, true)
	}
	if c.frozen {
		return at, found
	}
	sooner(c.now, c.dirty)
	t, ok := c.locks.retry()
	sooner(t, ok)
	return at, found
}

// reschedule brings everything up to date after an event: first what is due, then
// what may start. During a restore it waits for the Tick, so that nothing
// starts before every earlier job is in its place.
func (c *Core) reschedule(now time.Duration, effects []Effect) []Effect {
	c.at(now)
	if c.restoring {
		return effects
	}
	effects = c.advance(effects)
	if t, ok := c.locks.retry(); ok && t <= c.now {
		c.change()
	}
	if c.dirty && !c.frozen {
		effects = c.schedulingPass(effects)
	}
	return effects
}

// advance expires jobs and ends delays that are due.
func (c *Core) advance(effects []Effect) []Effect {
	for {
		t, ok := c.timers.next()
		if !ok || t.at > c.now {
			return effects
		}
		j := t.job
		if at, ok := j.expiry(); ok && at <= c.now {
			c.removeQueued(j)
			effects = append(effects, Expire{j.id})
			continue
		}
		c.leave(j)
		c.enqueue(j)
	}
}

// schedulingPass starts what may start. It looks at all candidates in the order in which
// they were accepted; one that cannot start claims its locks, so that none
// after it takes what it waits for.
func (c *Core) schedulingPass(effects []Effect) []Effect {
	c.dirty = false
	for _, j := range c.candidates() {
		if _, blocked := c.locks.obstacle(c.now, j); blocked || c.slots() <= 0 {
			c.locks.claim(j)
			continue
		}
		c.start(j)
		effects = append(effects, Start{ID: j.id, Attempt: int(j.attempt) + 1})
	}
	c.locks.lapse(c.now)
	clear(c.locks.claimed)
	clear(c.scratch)
	c.dirty = false // start dropped jobs from their lines; the pass knew
	return effects
}

// candidates are the jobs whose turn it is: of each dispatcher as many of the
// first as it may run more.
func (c *Core) candidates() []*job {
	list := c.scratch[:0]
	for _, d := range c.order {
		for i := range min(d.window(), d.fifo.len()) {
			list = append(list, d.fifo.at(i))
		}
	}
	slices.SortFunc(list, func(a, b *job) int { return cmp.Compare(a.seq, b.seq) })
	c.scratch = list
	return list
}

// slots is how many jobs more may run in the whole daemon.
func (c *Core) slots() int {
	if c.limits.MaxRunning <= 0 {
		return 1
	}
	return c.limits.MaxRunning - c.running
}
