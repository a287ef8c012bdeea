package queue

import "time"

// ID is a job's id. The core compares ids and nothing else.
type ID [16]byte

// Limits bound all dispatchers together; 0 = none.
type Limits struct {
	MaxRunning, MaxOutstanding int
}

// free is how many jobs more may start.
func (l Limits) free(running int) int {
	if l.MaxRunning <= 0 {
		return 1
	}
	return l.MaxRunning - running
}

// full says whether no further job may be accepted.
func (l Limits) full(outstanding int) bool {
	return l.MaxOutstanding > 0 && outstanding >= l.MaxOutstanding
}

// Core is the queue of all dispatchers. Its zero value is not usable: call New.
type Core struct {
	limits      Limits
	now         time.Duration // of the last event; it never goes back
	seq         uint64        // of the job accepted last
	jobs        map[ID]*job   // outstanding: a job leaves with Expire, Drop, Finish or Withdraw
	active      int           // of jobs: those that have a slot and their locks
	dispatchers registry
	pending     pending // the other jobs
	locks       locks
	draining    bool   // refuses new jobs
	frozen      bool   // starts nothing
	restoring   bool   // from the first Restore to the next Tick: decides nothing
	scratch     []*job // of candidates, between two passes empty
}

// New makes an empty core.
func New(l Limits) *Core {
	return &Core{limits: l, jobs: map[ID]*job{}, dispatchers: registry{byName: map[string]*dispatcher{}}, locks: newLocks()}
}

// Define adds a dispatcher or replaces its rules. Its jobs stay.
func (c *Core) Define(now time.Duration, r Rules) []Effect {
	r.Concurrency = max(1, r.Concurrency)
	d := c.dispatchers.ensure(r.Name)
	moved := d.rules.QueueTimeout != r.QueueTimeout // 0 before the first definition
	d.rules, d.removed, d.held = r, false, false
	if moved {
		// A new timeout holds for jobs that wait already. This is the one full
		// walk; a reload that leaves the timeout alone does without.
		for _, j := range c.jobs {
			if j.d == d && !j.active() {
				c.pending.arm(j)
			}
		}
	}
	c.pending.change()
	return c.reschedule(now, nil)
}

// Remove makes a dispatcher unknown for new jobs. Those it has run to their
// end by its last rules; then it is forgotten.
func (c *Core) Remove(now time.Duration, name string) {
	c.at(now)
	if d := c.dispatchers.byName[name]; d != nil {
		d.removed = true
		c.dispatchers.forget(d)
	}
}

// Pause makes a dispatcher start no jobs, or start them again; it accepts them
// all the time. A name that is not known yet is remembered.
func (c *Core) Pause(now time.Duration, name string, on bool) []Effect {
	c.at(now)
	d := c.dispatchers.ensure(name)
	if on != d.paused {
		c.turnPause(d, on)
	}
	c.dispatchers.forget(d)
	c.pending.change()
	return c.reschedule(now, nil)
}

// turnPause begins a pause or ends it. The time in it does not count against the
// queue timeout: who paused has decided to wait.
func (c *Core) turnPause(d *dispatcher, on bool) {
	d.paused = on
	if on {
		d.pausedAt = c.now
	}
	for _, j := range c.jobs {
		if j.d != d {
			continue
		}
		if !on {
			j.accepted += c.now - max(d.pausedAt, j.accepted)
		}
		if !j.active() {
			c.pending.arm(j)
		}
	}
}

// Hold makes a dispatcher start nothing until it is defined: there are jobs of it and
// no definition. Unlike in a pause, its jobs expire.
func (c *Core) Hold(name string) {
	c.dispatchers.ensure(name).held = true
	c.pending.change()
}

// Drain refuses new jobs, or accepts them again.
func (c *Core) Drain(on bool) { c.draining = on }

// Draining reports whether nothing is accepted any more.
func (c *Core) Draining() bool { return c.draining }

// Freeze starts nothing any more, or does again with the next Tick.
func (c *Core) Freeze(on bool) {
	c.frozen = on
	c.pending.change()
}

// Counts are the outstanding jobs of all dispatchers. A starting job counts as
// running.
func (c *Core) Counts() (queued, running int) { return len(c.jobs) - c.active, c.active }

// DispatcherCounts are the outstanding jobs of one.
func (c *Core) DispatcherCounts(name string) (queued, running int) {
	d := c.dispatchers.byName[name]
	if d == nil {
		return 0, 0
	}
	return d.queued(), len(d.active)
}

// Head is the ready job of a dispatcher that starts first, as things are now.
// False: none is ready.
func (c *Core) Head(name string) (ID, bool) {
	d := c.dispatchers.byName[name]
	if d == nil || d.fifo.len() == 0 {
		return ID{}, false
	}
	return d.fifo.at(0).id, true
}

// at moves the clock on.
func (c *Core) at(now time.Duration) { c.now = max(c.now, now) }
