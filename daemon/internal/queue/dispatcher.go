package queue

import (
	"cmp"
	"slices"
	"time"
)

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

// dispatcher is one dispatcher and its jobs. Each job is in one of three parts:
// fifo, delayed, active.
type dispatcher struct {
	rules    Rules
	ownLock  string          // the lock that each of its runs holds
	paused   bool            // whether it is defined or not: a pause comes before, and outlasts, the definition
	pausedAt time.Duration   // since when it is paused, if it is
	held     bool            // it has jobs and waits for its definition
	removed  bool            // it has no definition in force
	fifo     fifo            // ready jobs
	delayed  int             // in debounce or backoff: pending's timers have them
	active   []*job          // in order of start
	keys     map[string]*job // joinable jobs
	locks    *lockset        // of the last submission: most are alike
	history  durations
}

// outstanding is what max_queue counts.
func (d *dispatcher) outstanding() int { return d.queued() + len(d.active) }

// queued is how many jobs have not started, or wait for a retry.
func (d *dispatcher) queued() int { return d.fifo.len() + d.delayed }

// window is how many more jobs may start now: so many of the first in the fifo
// are candidates.
func (d *dispatcher) window() int {
	if d.paused || d.held {
		return 0
	}
	return max(0, d.rules.Concurrency-len(d.active))
}

// lockset gives the set for a job's locks: the last one, where it is the same.
func (d *dispatcher) lockset(locks []Lock) *lockset {
	if d.locks == nil || !d.locks.same(locks) {
		d.locks = newLockset(locks)
	}
	return d.locks
}

// undefined is a dispatcher without a definition: it takes no jobs, and runs
// restored ones one after another.
func undefined(name string) *dispatcher {
	return &dispatcher{
		rules: Rules{Name: name, Concurrency: 1}, ownLock: "dispatcher:" + name, removed: true, keys: map[string]*job{},
	}
}

// registry is all dispatchers: those that are defined, paused, or have jobs.
type registry struct {
	byName map[string]*dispatcher
	order  []*dispatcher // the same: to walk 300 takes 0.2 µs, over the map 5.5
}

// ensure gives the dispatcher of a name, undefined if it is not known.
func (r *registry) ensure(name string) *dispatcher {
	d := r.byName[name]
	if d == nil {
		d = undefined(name)
		r.byName[name] = d
		r.order = append(r.order, d)
	}
	return d
}

// forget drops what is known of a removed dispatcher that has no jobs, but for
// its pause.
func (r *registry) forget(d *dispatcher) {
	switch {
	case !d.removed || d.outstanding() > 0:
	case d.paused:
		at := d.pausedAt
		*d = *undefined(d.rules.Name)
		d.paused, d.pausedAt = true, at
	default:
		delete(r.byName, d.rules.Name)
		r.order = slices.DeleteFunc(r.order, func(o *dispatcher) bool { return o == d })
	}
}

// candidates are the jobs whose turn it is: of each dispatcher as many of the
// first as it may run more, in order of acceptance over all.
func (r *registry) candidates(list []*job) []*job {
	for _, d := range r.order {
		for i := range min(d.window(), d.fifo.len()) {
			list = append(list, d.fifo.at(i))
		}
	}
	slices.SortFunc(list, func(a, b *job) int { return cmp.Compare(a.seq, b.seq) })
	return list
}
