package queue

import (
	"cmp"
	"slices"
	"time"
)

// lockset is the locks of a job, sorted by name, each name once. Jobs with
// equal locks share one.
type lockset struct {
	locks []Lock
	given []Lock // as submitted: what the next submission is compared with
}

// newLockset puts locks in order; a name that is wanted twice is exclusive if
// either wish is.
func newLockset(given []Lock) *lockset {
	s := &lockset{given: slices.Clone(given)}
	for _, l := range given {
		i := slices.IndexFunc(s.locks, func(o Lock) bool { return o.Name == l.Name })
		if i < 0 {
			s.locks = append(s.locks, l)
			continue
		}
		s.locks[i].Shared = s.locks[i].Shared && l.Shared
	}
	slices.SortFunc(s.locks, func(a, b Lock) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// same says whether the set was made of these locks.
func (s *lockset) same(given []Lock) bool { return slices.Equal(s.given, given) }

// grant is the state of a lock that jobs of ours hold or, in a pass, claim. It
// has one exclusive holder or any number of shared ones.
type grant struct {
	jobs   []*job
	shared bool
}

// external is something that a start was missing: mostly a lock that a process
// outside holds, as far as we know.
type external struct {
	pid    int
	since  time.Duration
	until  time.Duration // not tried again before
	prober *job          // whose start tries it, and is not answered yet
}

// locks is who holds what.
type locks struct {
	granted  map[string]*grant
	claimed  map[string]*grant // of the pass at work
	external map[Reason]*external
	// blocked is what a job was missing that is none of its locks: the journal,
	// resources, a condition.
	blocked map[*job]Reason
}

// obstacle is why a candidate does not start. The zero value is none.
type obstacle struct {
	reason  string
	missing Reason // of waitLock
	by      *job   // who holds or claims missing.Lock, if a job of ours
}

// newLocks makes an empty one.
func newLocks() locks {
	return locks{granted: map[string]*grant{}, claimed: map[string]*grant{}, external: map[Reason]*external{}, blocked: map[*job]Reason{}}
}

// conflicts says whether a wish meets a holder it cannot be with.
func (h *grant) conflicts(l Lock) bool { return h != nil && !(h.shared && l.Shared) }

// obstacle finds what keeps a job from its locks: a holder first, for that is
// what people ask for, then an earlier job that waits for the same.
func (k *locks) obstacle(now time.Duration, j *job) (obstacle, bool) {
	for _, l := range j.locks.locks {
		if h := k.granted[l.Name]; h.conflicts(l) {
			return obstacle{reason: waitLock, missing: Reason{Lock: l.Name}, by: h.jobs[0]}, true
		}
	}
	for cause := range k.causes(j) {
		if o := k.external[cause]; o.blocks(now) {
			cause.PID = o.pid
			return obstacle{reason: waitLock, missing: cause}, true
		}
	}
	for _, l := range j.locks.locks {
		if h := k.claimed[l.Name]; h.conflicts(l) {
			return obstacle{reason: waitLock, missing: Reason{Lock: l.Name}, by: h.jobs[0]}, true
		}
	}
	return obstacle{}, false
}

// causes are all that a start of the job may find missing: the locks that it
// takes on disk, and what kept the start before.
func (k *locks) causes(j *job) func(yield func(Reason) bool) {
	return func(yield func(Reason) bool) {
		if len(k.external) == 0 { // nearly always: there is nothing to look for
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
		if cause, ok := k.blocked[j]; ok {
			yield(cause)
		}
	}
}

// blocks says whether it is not to be tried now.
func (o *external) blocks(now time.Duration) bool {
	return o != nil && (o.prober != nil || now < o.until)
}

// acquire gives a job its locks.
func (k *locks) acquire(j *job) {
	for _, l := range j.locks.locks {
		k.granted[l.Name] = k.granted[l.Name].with(j, l.Shared)
	}
}

// probe notes that a start is on its way. What was missing before is tried by
// this job alone; the others wait for the answer.
func (k *locks) probe(j *job) {
	for cause := range k.causes(j) {
		if o := k.external[cause]; o != nil {
			o.prober = j
		}
	}
	delete(k.blocked, j)
}

// unprobe notes that a start was taken back: what it was to try may be tried at
// once, for the owner stopped at the first that it found missing.
func (k *locks) unprobe(j *job) {
	for _, o := range k.external {
		if o.prober == j {
			o.prober = nil
		}
	}
}

// confirm forgets what a start was to try: it has begun, so nothing of it was
// missing.
func (k *locks) confirm(j *job) (some bool) {
	for cause, o := range k.external {
		if o.prober == j {
			delete(k.external, cause)
			some = true
		}
	}
	return some
}

// with adds a job to the holders.
func (h *grant) with(j *job, shared bool) *grant {
	if h == nil {
		return &grant{jobs: []*job{j}, shared: shared}
	}
	h.jobs = append(h.jobs, j)
	h.shared = h.shared && shared
	return h
}

// release takes a job's locks back.
func (k *locks) release(j *job) {
	for _, l := range j.locks.locks {
		h := k.granted[l.Name]
		if h == nil {
			continue
		}
		h.jobs = slices.DeleteFunc(h.jobs, func(o *job) bool { return o == j })
		if len(h.jobs) == 0 {
			delete(k.granted, l.Name)
		}
	}
}

// claim reserves all locks of a job that waits, against those after it.
func (k *locks) claim(j *job) {
	for _, l := range j.locks.locks {
		k.claimed[l.Name] = k.claimed[l.Name].with(j, l.Shared)
	}
}

// block notes what the start of a job was missing.
func (k *locks) block(now time.Duration, j *job, r Reason) {
	cause := r.cause()
	if cause.Kind != LockHeld || !j.takes(cause.Lock) {
		k.blocked[j] = cause
	}
	o := k.external[cause]
	if o == nil {
		o = &external{since: now}
		k.external[cause] = o
	}
	o.pid, o.until, o.prober = r.PID, now+busyPause, nil
}

// takes says whether a start of the job takes a lock on disk.
func (j *job) takes(name string) bool {
	return name == j.d.ownLock || slices.ContainsFunc(j.locks.locks, func(l Lock) bool { return l.Name == name })
}

// lapse forgets what may be tried again and nobody wanted to try.
func (k *locks) lapse(now time.Duration) {
	for cause, o := range k.external {
		if !o.blocks(now) {
			delete(k.external, cause)
		}
	}
}

// retry is the instant at which the first of what was missing is tried again.
func (k *locks) retry() (time.Duration, bool) {
	var at time.Duration
	found := false
	for _, o := range k.external {
		if o.prober == nil && (!found || o.until < at) {
			at, found = o.until, true
		}
	}
	return at, found
}
