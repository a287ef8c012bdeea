package queue

import (
	"cmp"
	"slices"
	"time"
)

// Lock is a named lock that a job holds while it runs.
type Lock struct {
	Name   string
	Shared bool
}

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

// locks says which jobs hold, or in a pass claim, which locks.
type locks struct {
	granted  map[string]*grant
	claimed  map[string]*grant // of the pass at work, else empty
	external external
}

// newLocks makes an empty one.
func newLocks() locks {
	return locks{granted: map[string]*grant{}, claimed: map[string]*grant{}, external: newExternal()}
}

// obstacle is why a candidate does not start. The zero value is none.
type obstacle struct {
	reason  string
	missing Reason // of waitLock
	by      *job   // the job that holds or claims missing.Lock; nil = a process outside
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
	if missing, blocked := k.external.blocks(now, j); blocked {
		o := obstacle{reason: waitLock, missing: missing}
		if missing.Kind == NoRoom {
			o.reason = waitDisk
		}
		return o, true
	}
	for _, l := range j.locks.locks {
		if h := k.claimed[l.Name]; h.conflicts(l) {
			return obstacle{reason: waitLock, missing: Reason{Lock: l.Name}, by: h.jobs[0]}, true
		}
	}
	return obstacle{}, false
}

// acquire gives a job its locks.
func (k *locks) acquire(j *job) {
	for _, l := range j.locks.locks {
		k.granted[l.Name] = k.granted[l.Name].with(j, l.Shared)
	}
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

// endPass forgets all claims.
func (k *locks) endPass() { clear(k.claimed) }
