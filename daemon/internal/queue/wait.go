package queue

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// The reasons to wait: the wire's strings.
const (
	waitTurn     = "turn"
	waitLock     = "lock"
	waitDebounce = "debounce"
	waitPaused   = "paused"
	waitSlot     = "start_slot"
	waitBackoff  = "retry_backoff"
	waitDisk     = "disk"
)

// Wait is why a queued job does not run yet.
type Wait struct {
	Reason   string
	Missing  ReasonKind // of "lock" and "disk": what kept the start, as Busy named it
	Lock     string
	Job      ID            // the job that has the turn or the lock; zero = a process outside, or none
	PID      int           // of the process outside that holds the lock, 0 = none, or not known
	Until    time.Duration // end of debounce or backoff
	Position int
	Estimate time.Duration // until the start; 0 = no idea
}

// Holder is a job or a process outside that holds a lock.
type Holder struct {
	Job    ID
	PID    int // of a process outside, else 0
	Shared bool
	Since  time.Duration
}

// LockState is one lock that is held.
type LockState struct {
	Name    string
	Holders []Holder
	Waiters []ID // candidates that this lock keeps from their start
}

// Waiting says why a job waits. False if it does not: it runs, or is unknown.
func (c *Core) Waiting(now time.Duration, id ID) (Wait, bool) {
	c.at(now)
	j := c.jobs[id]
	if j == nil || j.active() {
		return Wait{}, false
	}
	w := c.reason(j)
	w.Position = j.position()
	if w.Reason == waitTurn {
		w.Estimate = j.d.estimate(c.now, w.Position)
	}
	return w, true
}

// reason is why a queued job waits, without its place.
func (c *Core) reason(j *job) Wait {
	var w Wait
	switch {
	case j.d.paused || j.d.held:
		w.Reason = waitPaused
	case j.state == debounce:
		w.Reason, w.Until, w.Estimate = waitDebounce, j.notBefore, max(0, j.notBefore-c.now)
	case j.state == backoff:
		w.Reason, w.Until, w.Estimate = waitBackoff, j.notBefore, max(0, j.notBefore-c.now)
	default:
		if o, candidate := c.obstacles()[j]; candidate {
			w.kept(c.now, o)
		} else {
			w.behind(j.d)
		}
	}
	return w
}

// behind explains a job whose turn has not come.
func (w *Wait) behind(d *dispatcher) {
	w.Reason = waitTurn
	if len(d.active) > 0 {
		w.Job = d.active[0].id
	} else {
		w.Job = d.fifo.at(0).id
	}
}

// kept explains a candidate.
func (w *Wait) kept(now time.Duration, o obstacle) {
	w.Reason, w.Missing, w.Lock, w.PID = o.reason, o.missing.Kind, o.missing.Lock, o.missing.PID
	if o.by == nil {
		return
	}
	w.Job = o.by.id
	if o.by.active() {
		w.Estimate = o.by.d.history.left(now - o.by.since)
	}
}

// Position is a job's place in its dispatcher's queue: 1 is next or running, 0
// is unknown or over.
func (c *Core) Position(id ID) int {
	j := c.jobs[id]
	if j == nil {
		return 0
	}
	return j.position()
}

// Locks are all locks that are held, by name: the named ones, and each
// dispatcher's own.
func (c *Core) Locks(now time.Duration) []LockState {
	c.at(now)
	all := map[string]*LockState{}
	get := func(name string) *LockState {
		if all[name] == nil {
			all[name] = &LockState{Name: name}
		}
		return all[name]
	}
	for name, h := range c.locks.granted {
		get(name).Holders = holders(h.jobs, h.shared)
	}
	for _, d := range c.dispatchers.order {
		if len(d.active) > 0 {
			get(d.ownLock).Holders = holders(d.active, d.rules.Concurrency > 1)
		}
	}
	for cause, o := range c.locks.external.byCause {
		if cause.Kind == LockHeld && o.holds(c.now) && o.prober == nil {
			s := get(cause.Lock)
			s.Holders = append(s.Holders, Holder{PID: o.pid, Since: o.since})
		}
	}
	waiting := c.obstacles()
	for _, j := range slices.SortedFunc(maps.Keys(waiting), func(a, b *job) int { return cmp.Compare(a.seq, b.seq) }) {
		if o := waiting[j]; o.reason == waitLock && o.missing.Kind == LockHeld {
			s := get(o.missing.Lock)
			s.Waiters = append(s.Waiters, j.id)
		}
	}
	list := make([]LockState, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, *all[name])
	}
	return list
}

// holders lists jobs as holders of a lock.
func holders(jobs []*job, shared bool) []Holder {
	list := make([]Holder, len(jobs))
	for i, j := range jobs {
		list[i] = Holder{Job: j.id, Shared: shared, Since: j.since}
	}
	return list
}
