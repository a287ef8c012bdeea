package queue

import (
	"slices"
	"time"
)

// starts is the pass.
func (m *model) starts(now time.Duration) (out []Effect) {
	var claims []*mjob
	for _, j := range m.candidates() {
		full := m.limits.MaxRunning > 0 && m.count("", "running") >= m.limits.MaxRunning
		if full || m.obstructed(now, j, claims) {
			claims = append(claims, j)
			continue
		}
		j.phase, j.starting, j.joinable = "running", true, false
		for _, name := range m.wants(j) {
			if o := m.external[name]; o != nil {
				o.prober = j
			}
		}
		j.blocked = nil
		out = append(out, Start{j.id, j.ended + 1})
	}
	for name, o := range m.external {
		if o.prober == nil && now >= o.until {
			delete(m.external, name)
		}
	}
	return out
}

// candidates are the jobs whose turn it is.
func (m *model) candidates() (list []*mjob) {
	free := map[string]int{}
	for name, r := range m.rules {
		free[name] = r.Concurrency - m.count(name, "running")
	}
	for _, j := range m.jobs {
		if j.phase == "ready" && !m.paused[j.name] && free[j.name] > 0 {
			free[j.name]--
			list = append(list, j)
		}
	}
	return list
}

// wants are what a start takes on disk, and what kept it before.
func (m *model) wants(j *mjob) (list []Reason) {
	for _, name := range append(sortedNames(j.locks), "dispatcher:"+j.name) {
		list = append(list, Reason{Lock: name})
	}
	return append(list, j.blocked...)
}

// obstructed says whether a lock keeps a candidate.
func (m *model) obstructed(now time.Duration, j *mjob, claims []*mjob) bool {
	for _, o := range m.jobs {
		if o.phase == "running" && clash(j.locks, o.locks) {
			return true
		}
	}
	for _, name := range m.wants(j) {
		if o := m.external[name]; o != nil && (o.prober != nil || now < o.until) {
			return true
		}
	}
	return slices.ContainsFunc(claims, func(o *mjob) bool { return clash(j.locks, o.locks) })
}

// reason is the kind of wait that a queued job has, without the difference
// between a lock and a slot: the invariants look at that.
func (m *model) reason(id ID, now time.Duration) string {
	j := m.job(id)
	switch {
	case m.paused[j.name]:
		return waitPaused
	case j.phase == "debounce":
		return waitDebounce
	case j.phase == "backoff":
		return waitBackoff
	}
	var claims []*mjob
	for _, o := range m.candidates() {
		blocked := m.obstructed(now, o, claims)
		switch {
		case o == j && blocked:
			return waitLock
		case o == j:
			return waitSlot
		}
		claims = append(claims, o)
	}
	return waitTurn
}
