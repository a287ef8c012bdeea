package queue

import (
	"slices"
	"time"
)

const (
	remembered   = 16              // runs that an estimate is made from
	guess        = 5 * time.Second // where nothing is known yet
	shortestTime = time.Second     // a client is never told to come back sooner
)

// durations are the last run times of a dispatcher.
type durations struct {
	ring [remembered]time.Duration
	n    int // runs ever
}

// add remembers one more.
func (h *durations) add(d time.Duration) {
	h.ring[h.n%remembered] = d
	h.n++
}

// median is the middle of what is remembered; false without any.
func (h *durations) median() (time.Duration, bool) {
	n := min(h.n, remembered)
	if n == 0 {
		return 0, false
	}
	sorted := h.ring // a copy
	slices.Sort(sorted[:n])
	return sorted[n/2], true
}

// left is what a run that has lasted this long has probably before it.
func (h *durations) left(elapsed time.Duration) time.Duration {
	m, _ := h.median()
	return max(0, m-elapsed)
}

// estimate is the time until the job at this position starts, if nothing else
// holds it up.
func (d *dispatcher) estimate(now time.Duration, position int) time.Duration {
	m, ok := d.history.median()
	if !ok {
		return 0
	}
	rounds := (position - 1) / d.rules.Concurrency
	if len(d.active) < d.rules.Concurrency {
		return time.Duration(rounds) * m
	}
	return time.Duration(rounds)*m + d.history.left(now-d.active[0].since)
}

// RetryAfter is when a refused client should come back: when the oldest run
// will probably have ended. It is never above the dispatcher's timeout.
func (c *Core) RetryAfter(now time.Duration, name string) time.Duration {
	d := c.dispatchers.byName[name]
	if d == nil {
		return guess
	}
	return d.retryAfter(now)
}

// retryAfter is RetryAfter of one dispatcher.
func (d *dispatcher) retryAfter(now time.Duration) time.Duration {
	after, known := d.history.median()
	switch {
	case !known:
		after = guess
	case len(d.active) > 0:
		after -= now - d.active[0].since
	}
	after = max(after, shortestTime)
	if d.rules.Timeout > 0 {
		after = min(after, d.rules.Timeout)
	}
	return after
}
