package queue

import (
	"slices"
	"time"
)

// ID is a job's id. The core compares ids and nothing else.
type ID [16]byte

// Lock is a named lock that a job holds while it runs.
type Lock struct {
	Name   string
	Shared bool
}

// Rules is the part of a dispatcher's definition that the core decides by.
type Rules struct {
	Name                  string
	MaxQueue              int           // outstanding jobs; 0 = no limit
	Concurrency           int           // runs at a time; below 1 is 1
	QueueTimeout          time.Duration // longest wait before the first start; 0 = none
	Timeout               time.Duration // bounds estimates only: the owner keeps it
	Coalesce              bool
	Debounce, DebounceMax time.Duration // DebounceMax 0 = 10 × Debounce
	Retries               int           // further attempts after the first
	Backoff, MaxBackoff   time.Duration // doubled each time; MaxBackoff 0 = no cap
}

// joins says whether a notify may join a queued job.
func (r *Rules) joins() bool { return r.Coalesce || r.Debounce > 0 }

// Limits bound all dispatchers together; 0 = none.
type Limits struct {
	MaxRunning, MaxOutstanding int
}

// Effect is a decision that the owner has to make real, in the given order.
type Effect interface{ effect() }

// Start wants a job started: locks on disk, journal, child. The owner answers
// it once, with Started, Busy or Rerun.
type Start struct {
	ID      ID
	Attempt int // 1 for the first
}

// Stop wants a running job's child signalled, because it was canceled.
type Stop struct{ ID ID }

// Expire ends a queued job that waited longer than its queue timeout.
type Expire struct{ ID ID }

// Drop ends a queued job that was canceled.
type Drop struct{ ID ID }

// Requeue turns a running job back into a queued one, for a retry.
type Requeue struct {
	ID      ID
	Attempt int           // the one that has ended
	After   time.Duration // the pause before the next
}

// Finish ends a running job for good; the owner knows with which state.
type Finish struct{ ID ID }

func (Start) effect()   {}
func (Stop) effect()    {}
func (Expire) effect()  {}
func (Drop) effect()    {}
func (Requeue) effect() {}
func (Finish) effect()  {}

// state is where a job is.
type state uint8

const (
	ready    state = iota // in its dispatcher's line
	debounce              // waits for quiet
	backoff               // waits for its next attempt
	starting              // has its Start, which the owner has not answered yet
	running
)

// noSlot is the slot of a job without a timer.
const noSlot = -1

// job is one outstanding job. There may be 100,000 of them: 96 bytes.
type job struct {
	id        ID
	seq       uint64 // order of acceptance over all dispatchers
	d         *dispatcher
	locks     *lockset
	key       string
	accepted  time.Duration
	notBefore time.Duration // end of debounce or backoff
	since     time.Duration // start of the run
	attempt   int32         // attempts that have ended
	slot      int32         // in the timer heap
	state     state
	started   bool // ran before: no longer joinable, no longer expires
	joinable  bool // stands in its dispatcher's keys
	canceled  bool // running, and told to stop
}

// active says whether the job has a slot and its locks.
func (j *job) active() bool { return j.state >= starting }

// dispatcher is one dispatcher and its jobs.
type dispatcher struct {
	rules   Rules
	ownLock string // name of its own lock
	paused  bool
	removed bool
	fifo    fifo            // ready
	delayed int             // in debounce or backoff
	running []*job          // in order of start
	keys    map[string]*job // joinable jobs
	locks   *lockset        // of the last submission: most are alike
	history durations
}

// outstanding is what max_queue counts.
func (d *dispatcher) outstanding() int { return d.queued() + len(d.running) }

// queued is how many jobs have not started, or wait for a retry.
func (d *dispatcher) queued() int { return d.fifo.len() + d.delayed }

// window is how many more jobs may run now.
func (d *dispatcher) window() int {
	if d.paused {
		return 0
	}
	return max(0, d.rules.Concurrency-len(d.running))
}

// Core is the queue of all dispatchers.
type Core struct {
	limits          Limits
	now             time.Duration // of the last event
	seq             uint64
	jobs            map[ID]*job
	dispatchers     map[string]*dispatcher
	order           []*dispatcher // the same, in order of definition: maps have none
	paused          map[string]bool
	queued, running int
	draining        bool
	frozen          bool
	dirty           bool // something changed that a pass may act on
	restoring       bool // from the first Restore to the next Tick: decide nothing
	timers          timers
	locks           locks
	obstacleCache   map[*job]obstacle // why candidates wait; nil = to be worked out
	scratch         []*job
}

// New makes an empty core.
func New(l Limits) *Core {
	return &Core{
		limits: l, jobs: map[ID]*job{}, dispatchers: map[string]*dispatcher{}, paused: map[string]bool{},
		locks: newLocks(),
	}
}

// Define adds a dispatcher or replaces its rules. Its jobs stay.
func (c *Core) Define(now time.Duration, r Rules) []Effect {
	r.Concurrency = max(1, r.Concurrency)
	d := c.dispatchers[r.Name]
	if d == nil {
		d = &dispatcher{ownLock: "dispatcher:" + r.Name, paused: c.paused[r.Name], keys: map[string]*job{}}
		c.dispatchers[r.Name] = d
		c.order = append(c.order, d)
	}
	moved := d.rules.QueueTimeout != r.QueueTimeout
	d.rules, d.removed = r, false
	if moved {
		c.rearm(d)
	}
	c.change()
	return c.reschedule(now, nil)
}

// rearm makes a new queue timeout hold for jobs that wait already. It is the
// one full walk, and a reload that leaves the timeout alone does without.
func (c *Core) rearm(d *dispatcher) {
	for _, j := range c.jobs {
		if j.d == d && !j.active() {
			c.arm(j)
		}
	}
}

// Remove makes a dispatcher unknown for new jobs. Those it has run to their
// end by its last rules; then it is forgotten.
func (c *Core) Remove(now time.Duration, name string) {
	c.at(now)
	if d := c.dispatchers[name]; d != nil {
		d.removed = true
		c.forget(d)
	}
}

// forget drops a removed dispatcher that has no jobs.
func (c *Core) forget(d *dispatcher) {
	if !d.removed || d.outstanding() > 0 {
		return
	}
	delete(c.dispatchers, d.rules.Name)
	c.order = slices.DeleteFunc(c.order, func(o *dispatcher) bool { return o == d })
}

// Pause pauses a dispatcher, or lets it go on: it accepts jobs and starts none.
// A name that is not known yet is remembered.
func (c *Core) Pause(now time.Duration, name string, on bool) []Effect {
	if on {
		c.paused[name] = true
	} else {
		delete(c.paused, name)
	}
	if d := c.dispatchers[name]; d != nil {
		d.paused = on
		c.change()
	}
	return c.reschedule(now, nil)
}

// Drain refuses new jobs, or takes them again.
func (c *Core) Drain(on bool) { c.draining = on }

// Freeze starts nothing any more, or does again with the next Tick.
func (c *Core) Freeze(on bool) {
	c.frozen = on
	c.change()
}

// Counts are the outstanding jobs of all dispatchers.
func (c *Core) Counts() (queued, running int) { return c.queued, c.running }

// DispatcherCounts are the outstanding jobs of one.
func (c *Core) DispatcherCounts(name string) (queued, running int) {
	d := c.dispatchers[name]
	if d == nil {
		return 0, 0
	}
	return d.queued(), len(d.running)
}

// Head is the job of a dispatcher that is the first to start when a run of it
// ends, and its attempt, as things are now. False: none is ready.
func (c *Core) Head(name string) (ID, int, bool) {
	d := c.dispatchers[name]
	if d == nil || d.fifo.len() == 0 {
		return ID{}, 0, false
	}
	j := d.fifo.at(0)
	return j.id, int(j.attempt) + 1, true
}

// change notes that the next pass has something to look at.
func (c *Core) change() {
	c.dirty = true
	c.obstacleCache = nil
}

// at moves the clock on; it never goes back.
func (c *Core) at(now time.Duration) { c.now = max(c.now, now) }
