package proc

import (
	"os"
	"time"
)

// Extend gives the child this much time from now on, where it has a timeout that
// is not over.
func (c *Child) Extend(now time.Time, more time.Duration) error {
	if c.phase >= clearing {
		return os.ErrProcessDone
	}
	if c.phase == running && !c.deadline.IsZero() {
		c.deadline = now.Add(more)
	}
	return nil
}

// Left is what is left of the timeout, 0 = there is none any more. One that is
// just over is a nanosecond: 0 would be none.
func (c *Child) Left(now time.Time) time.Duration {
	if c.deadline.IsZero() {
		return 0
	}
	return max(1, c.deadline.Sub(now))
}

// extendItself is Extend by the child, or by any process of its user: a timeout binds
// who is not trusted, so what is asked for over and over has an end.
func (c *Child) extendItself(now time.Time, more time.Duration) {
	if !c.limit.IsZero() {
		more = min(more, c.limit.Sub(now))
	}
	if now.Add(more).After(c.deadline) {
		_ = c.Extend(now, more)
	}
}

// MostLeft is what is left until the limit of the child's own extensions, 0 = there is
// none.
func (c *Child) MostLeft(now time.Time) time.Duration {
	if c.limit.IsZero() {
		return 0
	}
	return max(1, c.limit.Sub(now))
}
