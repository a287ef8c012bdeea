package queue

import (
	"slices"
	"time"
)

// busyPause is how long what was missing is left alone.
const busyPause = time.Second

// external is what starts were missing, by the owner's Busy: mostly locks that
// processes outside hold, as far as we know. An entry goes once a start that
// tries it is Started, or no candidate needs it any more.
type external struct {
	byCause map[Reason]*absence
	// blocked is what a job was missing that is none of its locks: the journal,
	// resources, a condition. It is one more cause of its next start.
	blocked map[*job]Reason
}

// absence is one thing that was missing.
type absence struct {
	pid    int // of the holder, where the cause is a lock
	since  time.Duration
	until  time.Duration // not tried again before
	prober *job          // whose start tries it, and is not answered yet
}

// newExternal makes an empty one.
func newExternal() external {
	return external{byCause: map[Reason]*absence{}, blocked: map[*job]Reason{}}
}

// holds says whether it is not to be tried now.
func (a *absence) holds(now time.Duration) bool {
	return a != nil && (a.prober != nil || now < a.until)
}

// causes are all that a start of the job may find missing: the locks that it
// takes on disk, and what kept the start before.
func (x *external) causes(j *job) func(yield func(Reason) bool) {
	return func(yield func(Reason) bool) {
		if len(x.byCause) == 0 { // nearly always: there is nothing to look for
			return
		}
		for _, l := range j.locks.locks {
			if !yield(Reason{Lock: l.Name}) {
				return
			}
		}
		if !yield(Reason{Lock: j.d.ownLock}) {
			return
		}
		if cause, ok := x.blocked[j]; ok {
			yield(cause)
		}
	}
}

// blocks finds what a job must not try now.
func (x *external) blocks(now time.Duration, j *job) (Reason, bool) {
	for cause := range x.causes(j) {
		if a := x.byCause[cause]; a.holds(now) {
			cause.PID = a.pid
			return cause, true
		}
	}
	return Reason{}, false
}

// probe notes that a start is on its way. What was missing before is tried by
// this job alone; the others wait for the answer.
func (x *external) probe(j *job) {
	for cause := range x.causes(j) {
		if a := x.byCause[cause]; a != nil {
			a.prober = j
		}
	}
	delete(x.blocked, j)
}

// confirm forgets what a start was to try: it has begun, so nothing of it was
// missing.
func (x *external) confirm(j *job) (some bool) {
	for cause, a := range x.byCause {
		if a.prober == j {
			delete(x.byCause, cause)
			some = true
		}
	}
	return some
}

// unprobe notes that a start was taken back: what it was to try may be tried at
// once, for the owner stopped at the first that it found missing.
func (x *external) unprobe(j *job) {
	for _, a := range x.byCause {
		if a.prober == j {
			a.prober = nil
		}
	}
}

// block notes what the start of a job was missing.
func (x *external) block(now time.Duration, j *job, r Reason) {
	cause := r.cause()
	if cause.Kind != LockHeld || !j.takes(cause.Lock) {
		x.blocked[j] = cause
	}
	a := x.byCause[cause]
	if a == nil {
		a = &absence{since: now}
		x.byCause[cause] = a
	}
	a.pid, a.until, a.prober = r.PID, now+busyPause, nil
}

// takes says whether a start of the job takes a lock on disk.
func (j *job) takes(name string) bool {
	return name == j.d.ownLock || slices.ContainsFunc(j.locks.locks, func(l Lock) bool { return l.Name == name })
}

// lapse forgets what may be tried again and no candidate of the pass needed.
func (x *external) lapse(now time.Duration) {
	for cause, a := range x.byCause {
		if !a.holds(now) {
			delete(x.byCause, cause)
		}
	}
}

// retry is the instant at which the first of what was missing is tried again.
// What a start is trying already has none: the answer is the event.
func (x *external) retry() (time.Duration, bool) {
	var at time.Duration
	found := false
	for _, a := range x.byCause {
		if a.prober == nil && (!found || a.until < at) {
			at, found = a.until, true
		}
	}
	return at, found
}
