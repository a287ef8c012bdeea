package scheduler

import "time"

// Differences between two readings of the clocks, and what they mean.
const (
	minSleep = time.Millisecond
	maxSleep = time.Minute     // after this at the latest the clocks are compared
	near     = time.Minute     // a step below this is none
	replay   = 5 * time.Minute // up to this, what was jumped over is only late
	far      = 3 * time.Hour   // beyond this the time was wrong, or no daemon ran
)

// Between these years a wall clock is plausible: a machine without a clock of its own
// wakes up in 1970, a broken one anywhere.
const (
	firstYear = 2020
	lastYear  = 2150
)

// Plausible says whether a wall clock can be right.
func Plausible(wall time.Time) bool {
	year := wall.UTC().Year()
	return year >= firstYear && year <= lastYear
}

// change is what happened to the time between two readings.
type change int

const (
	steady change = iota // what is due is due
	jumped               // forward by minutes or up to three hours
	away                 // forward by more, or a long sleep
	back                 // back by up to three hours
	reset                // back by more
)

// classifyJump compares two readings of the clocks. Forward, a stepped clock, a
// machine that slept and a process that was stopped are one, so it counts what
// the wall clock ran beyond the longest sleep between two readings.
func classifyJump(prev, now Now) change {
	passed := max(now.Mono-prev.Mono, 0)
	step := now.Wall.Sub(prev.Wall.Add(passed))
	unseen := now.Wall.Sub(prev.Wall.Add(min(passed, maxSleep)))
	switch {
	case unseen > far:
		return away
	case unseen > replay:
		return jumped
	case step < -far:
		return reset
	case step <= -near:
		return back
	}
	return steady
}

// clockRestored says whether the clock is back on the line that it left when it
// went back by hours: that step was the mistake, and is undone.
func clockRestored(left, now Now) bool {
	if left.Wall.IsZero() || now.Mono < left.Mono {
		return false
	}
	return now.Wall.Sub(left.Wall.Add(now.Mono-left.Mono)).Abs() <= replay
}

// acrossStep is where a moment on the wall lies once the clock was stepped between
// two readings: as far from now as it really is.
func acrossStep(t time.Time, prev, now Now) time.Time {
	return now.Wall.Add(t.Sub(prev.Wall) - max(now.Mono-prev.Mono, 0))
}

// earlier is the first of two times.
func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// later is the second of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
