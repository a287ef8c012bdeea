package queue

import (
	"slices"
	"time"
)

// model is the queue as one would write it first: one list, walked from the
// start after every event, and nothing remembered that can be worked out. What
// it says is what the core has to say.
type model struct {
	limits    Limits
	rules     map[string]Rules
	gone      map[string]bool // removed
	paused    map[string]bool
	frozen    bool
	restoring bool
	jobs      []*mjob // outstanding, in order of acceptance
	external  map[Reason]*mout
}

// mjob is a job of the model.
type mjob struct {
	id                          ID
	name, key, phase            string
	locks                       []Lock
	blocked                     []Reason // none or one
	accepted, notBefore         time.Duration
	ended                       int
	started, joinable, canceled bool
	starting                    bool // its Start is not answered; its phase is running
}

// mout is what was missing for a start.
type mout struct {
	until  time.Duration
	prober *mjob
}

func newModel(l Limits) *model {
	return &model{limits: l, rules: map[string]Rules{}, gone: map[string]bool{}, paused: map[string]bool{}, external: map[Reason]*mout{}}
}

func (m *model) job(id ID) *mjob {
	for _, j := range m.jobs {
		if j.id == id {
			return j
		}
	}
	return nil
}

func (m *model) drop(j *mjob) {
	m.jobs = slices.DeleteFunc(m.jobs, func(o *mjob) bool { return o == j })
	left := slices.ContainsFunc(m.jobs, func(o *mjob) bool { return o.name == j.name })
	if m.gone[j.name] && !left {
		delete(m.rules, j.name)
	}
}

// count counts the outstanding jobs of a dispatcher in a phase ("" = any).
func (m *model) count(name, phase string) (n int) {
	for _, j := range m.jobs {
		if (name == "" || j.name == name) && (phase == "" || j.phase == phase) {
			n++
		}
	}
	return n
}

func (m *model) define(now time.Duration, r Rules) []Effect {
	r.Concurrency = max(1, r.Concurrency)
	m.rules[r.Name] = r
	m.gone[r.Name] = false
	return m.reschedule(now)
}

func (m *model) remove(name string) {
	if _, ok := m.rules[name]; !ok {
		return
	}
	m.gone[name] = true
	if m.count(name, "") == 0 {
		delete(m.rules, name)
	}
}

func (m *model) submit(now time.Duration, s Submission) (Refusal, ID, []Effect) {
	r, ok := m.rules[s.Dispatcher]
	if !ok || m.gone[s.Dispatcher] {
		return RefusedUnknown, ID{}, nil
	}
	if r.Coalesce || r.Debounce > 0 {
		for _, j := range m.jobs {
			if j.name == s.Dispatcher && j.key == s.Key && j.joinable {
				if r.Debounce > 0 {
					m.enqueueOrDelay(now, j)
				}
				return "", j.id, m.reschedule(now)
			}
		}
	}
	if r.MaxQueue > 0 && m.count(s.Dispatcher, "") >= r.MaxQueue {
		return RefusedFull, ID{}, nil
	}
	if m.limits.MaxOutstanding > 0 && len(m.jobs) >= m.limits.MaxOutstanding {
		return RefusedAll, ID{}, nil
	}
	j := &mjob{id: s.ID, name: s.Dispatcher, key: s.Key, locks: s.Locks, accepted: now}
	m.jobs = append(m.jobs, j)
	m.enqueueOrDelay(now, j)
	return "", ID{}, m.reschedule(now)
}

func (m *model) restore(now time.Duration, r Restored) {
	m.restoring = true
	if _, ok := m.rules[r.Dispatcher]; !ok {
		m.rules[r.Dispatcher], m.gone[r.Dispatcher] = Rules{Name: r.Dispatcher, Concurrency: 1}, true
	}
	j := &mjob{
		id: r.ID, name: r.Dispatcher, key: r.Key, locks: r.Locks, accepted: now - r.Waited,
		ended: r.Attempt, started: r.Started || r.Attempt > 0,
	}
	m.jobs = append(m.jobs, j)
	if r.Running {
		j.phase, j.ended, j.started = "running", max(0, r.Attempt-1), r.Attempt > 1
		return
	}
	if r.BackoffLeft > 0 {
		j.phase, j.notBefore = "backoff", now+r.BackoffLeft
	} else {
		m.enqueueOrDelay(now, j)
	}
}

// enqueueOrDelay gives a job its phase when it was notified.
func (m *model) enqueueOrDelay(now time.Duration, j *mjob) {
	r := m.rules[j.name]
	j.phase = "ready"
	if j.started || !(r.Coalesce || r.Debounce > 0) {
		return
	}
	m.makeJoinable(j)
	longest := r.DebounceMax
	if longest == 0 {
		longest = 10 * r.Debounce
	}
	if at := min(now+r.Debounce, j.accepted+longest); at > now {
		j.phase, j.notBefore = "debounce", at
	}
}

// makeJoinable makes a job joinable unless another one is under its key.
func (m *model) makeJoinable(j *mjob) {
	for _, o := range m.jobs {
		if o.name == j.name && o.key == j.key && o.joinable {
			return
		}
	}
	j.joinable = true
}

func (m *model) ended(now time.Duration, id ID, retryable bool) []Effect {
	j := m.job(id)
	r := m.rules[j.name]
	j.ended++
	j.started = true
	if !retryable || j.canceled || j.ended > r.Retries {
		m.drop(j)
		return append([]Effect{Finish{id}}, m.reschedule(now)...)
	}
	after := r.Backoff
	for range j.ended - 1 {
		after *= 2
	}
	if r.MaxBackoff > 0 {
		after = min(after, r.MaxBackoff)
	}
	j.phase = "ready"
	if after > 0 {
		j.phase, j.notBefore = "backoff", now+after
	}
	return append([]Effect{Requeue{id, j.ended, after}}, m.reschedule(now)...)
}

// unprobe ends a start that was not answered by Started.
func (m *model) unprobe(j *mjob) {
	j.starting = false
	for _, o := range m.external {
		if o.prober == j {
			o.prober = nil
		}
	}
}

// confirmed forgets all that the start was to try.
func (m *model) confirmed(now time.Duration, id ID) []Effect {
	j := m.job(id)
	j.starting = false
	for name, o := range m.external {
		if o.prober == j {
			delete(m.external, name)
		}
	}
	return m.reschedule(now)
}

func (m *model) busy(now time.Duration, id ID, r Reason) []Effect {
	j := m.job(id)
	m.unprobe(j)
	r.PID = 0
	if !slices.Contains(m.wants(j), r) {
		j.blocked = []Reason{r}
	}
	m.external[r] = &mout{until: now + time.Second}
	if j.canceled {
		m.drop(j)
		return append([]Effect{Drop{id}}, m.reschedule(now)...)
	}
	j.phase = "ready"
	if r := m.rules[j.name]; !j.started && (r.Coalesce || r.Debounce > 0) {
		m.makeJoinable(j)
	}
	return m.reschedule(now)
}

func (m *model) rerun(now time.Duration, id ID, counts bool) []Effect {
	j := m.job(id)
	m.unprobe(j)
	if counts {
		j.ended++
		j.started = true
	}
	if j.canceled {
		m.drop(j)
		return append([]Effect{Finish{id}}, m.reschedule(now)...)
	}
	j.phase = "ready"
	if r := m.rules[j.name]; !j.started && (r.Coalesce || r.Debounce > 0) {
		m.makeJoinable(j)
	}
	return append([]Effect{Requeue{id, j.ended, 0}}, m.reschedule(now)...)
}

func (m *model) cancel(now time.Duration, id ID) []Effect {
	j := m.job(id)
	if j.phase == "running" {
		if j.canceled {
			return nil
		}
		j.canceled = true
		return []Effect{Stop{id}}
	}
	m.drop(j)
	return append([]Effect{Drop{id}}, m.reschedule(now)...)
}

func (m *model) withdraw(now time.Duration, id ID) []Effect {
	m.unprobe(m.job(id))
	m.drop(m.job(id))
	return m.reschedule(now)
}

func (m *model) tick(now time.Duration) []Effect {
	m.restoring = false
	return m.reschedule(now)
}

// due is the instant at which time does something to a queued job.
func (m *model) due(j *mjob) (at, expiry time.Duration) {
	const never = 1 << 62
	at, expiry = never, never
	if limit := m.rules[j.name].QueueTimeout; limit > 0 && !j.started && !m.paused[j.name] {
		expiry = j.accepted + limit
	}
	if j.phase == "debounce" || j.phase == "backoff" {
		at = j.notBefore
	}
	return min(at, expiry), expiry
}

// reschedule is time first, then starts.
func (m *model) reschedule(now time.Duration) (out []Effect) {
	if m.restoring {
		return nil
	}
	for {
		var next *mjob
		for _, j := range m.jobs {
			if at, _ := m.due(j); j.phase != "running" && at <= now {
				if best, _ := m.due2(next); next == nil || at < best {
					next = j
				}
			}
		}
		if next == nil {
			break
		}
		if _, expiry := m.due(next); expiry <= now {
			m.drop(next)
			out = append(out, Expire{ID: next.id})
			continue
		}
		next.phase = "ready"
	}
	if m.frozen {
		return out
	}
	return append(out, m.starts(now)...)
}

// due2 is due for a job that may be nil.
func (m *model) due2(j *mjob) (at, expiry time.Duration) {
	if j == nil {
		return 0, 0
	}
	return m.due(j)
}
