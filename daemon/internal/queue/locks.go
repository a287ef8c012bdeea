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

// external is a lock that a process outside holds, as far as we know.
type external struct {
	pid     int
	since   time.Duration
	until   time.Duration // not tried again before
	probing bool          // a start that tries it is on its way
}

// locks is who holds what.
type locks struct {
	granted  map[string]*grant
	claimed  map[string]*grant // of the pass at work
	external map[string]*external
	// blocked is what a job waits for that is none of its locks: an owner may
	// answer Busy for reasons of its own, such as a broken journal.
	blocked map[*job]string
}

// obstacle is why a candidate does not start. The zero value is none.
type obstacle struct {
	reason string
	lock   string
	by     *job
	pid    int
}

// newLocks makes an empty one.
func newLocks() locks {
	return locks{granted: map[string]*grant{}, claimed: map[string]*grant{}, external: map[string]*external{}, blocked: map[*job]string{}}
}

// conflicts says whether a wish meets a holder it cannot be with.
func (h *grant) conflicts(l Lock) bool { return h != nil && !(h.shared && l.Shared) }

// obstacle finds what keeps a job from its locks: a holder first, for that is
// what people ask for, then an earlier job that waits for the same.
func (k *locks) obstacle(now time.Duration, j *job) (obstacle, bool) {
	for _, l := range j.locks.locks {
		if h := k.granted[l.Name]; h.conflicts(l) {
			return obstacle{reason: waitLock, lock: l.Name, by: h.jobs[0]}, true
		}
	}
	names := k.names(j)
	for name := range names {
		if o := k.external[name]; o.blocks(now) {
			return obstacle{reason: waitLock, lock: name, pid: o.pid}, true
		}
	}
	for _, l := range j.locks.locks {
		if h := k.claimed[l.Name]; h.conflicts(l) {
			return obstacle{reason: waitLock, lock: l.Name, by: h.jobs[0]}, true
		}
	}
	return obstacle{}, false
}

// names are all locks that a start of the job has to take on disk.
func (k *locks) names(j *job) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if len(k.external) == 0 { // nearly always: there is nothing to look for
			return
		}
		for _, l := range j.locks.locks {
			if !yield(l.Name) {
				return
			}
		}
		if !yield(j.d.ownLock) {
			return
		}
		if name, ok := k.blocked[j]; ok {
			yield(name)
		}
	}
}

// blocks says whether a lock is not to be tried now.
func (o *external) blocks(now time.Duration) bool { return o != nil && (o.probing || now < o.until) }

// acquire gives a job its locks.
func (k *locks) acquire(j *job) {
	for _, l := range j.locks.locks {
		k.granted[l.Name] = k.granted[l.Name].with(j, l.Shared)
	}
}

// try notes that a starting job tries its locks on disk. Those that were held
// from outside are tried by this job alone; the others wait to see what comes
// of it.
func (k *locks) try(j *job) {
	for name := range k.names(j) {
		if o := k.external[name]; o != nil {
			o.probing = true
		}
	}
	delete(k.blocked, j)
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

// block notes that a process outside holds a lock.
func (k *locks) block(now time.Duration, j *job, name string, pid int) {
	own := name == j.d.ownLock || slices.ContainsFunc(j.locks.locks, func(l Lock) bool { return l.Name == name })
	if !own {
		k.blocked[j] = name
	}
	// Other locks that this start was to try were not tried to the end: the
	// owner stopped at the first. They may be tried again at once.
	for _, l := range j.locks.locks {
		if o := k.external[l.Name]; o != nil {
			o.probing = false
		}
	}
	o := k.external[name]
	if o == nil {
		o = &external{since: now}
		k.external[name] = o
	}
	o.pid, o.until, o.probing = pid, now+busyPause, false
}

// probing says whether a start is on its way that tries a lock.
func (k *locks) probing() bool {
	for _, o := range k.external {
		if o.probing {
			return true
		}
	}
	return false
}

// proven forgets the locks whose start was not answered by Busy: the owner
// took them.
func (k *locks) proven() (some bool) {
	for name, o := range k.external {
		if o.probing {
			delete(k.external, name)
			some = true
		}
	}
	return some
}

// lapse forgets the locks whose pause is over and which nobody wanted to try.
func (k *locks) lapse(now time.Duration) {
	for name, o := range k.external {
		if !o.blocks(now) {
			delete(k.external, name)
		}
	}
}

// retry is the instant at which a lock held from outside is tried again.
func (k *locks) retry() (time.Duration, bool) {
	var at time.Duration
	found := false
	for _, o := range k.external {
		if !o.probing && (!found || o.until < at) {
			at, found = o.until, true
		}
	}
	return at, found
}
