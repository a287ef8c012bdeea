package queue

import (
	"errors"
	"strings"
	"time"
)

// The steps of the world. Each calls the core, and the model if there is one,
// and performs what comes back.

// step does one of them, chosen by pick. Submits are the most frequent.
func (w *world) step() {
	steps := []func(){
		w.stepSubmit, w.stepSubmit, w.stepSubmit, w.stepEnd, w.stepEnd, w.stepTime, w.stepTime,
		w.stepDefine, w.stepHold, w.stepFreeze, w.stepCancel, w.stepWithdraw, w.stepRelock,
		w.stepOutside, w.stepLate, w.stepRestore, w.stepRemove, w.stepRerun, w.stepAnswer, w.stepWrong,
	}
	steps[w.pick(len(steps))]()
}

func (w *world) stepDefine() { w.define(w.someRules(w.name())) }

// someRules are rules of any kind.
func (w *world) someRules(name string) Rules {
	r := Rules{
		Name: name, MaxQueue: w.pick(6), Concurrency: w.pick(4), QueueTimeout: w.seconds(8),
		Coalesce: w.pick(3) == 0, Retries: w.pick(3), Backoff: w.seconds(3), MaxBackoff: w.seconds(4),
	}
	if w.pick(3) == 0 {
		r.Debounce, r.DebounceMax = w.seconds(4), w.seconds(8)
	}
	return r
}

func (w *world) define(r Rules) {
	w.rules[r.Name] = r
	got := w.core.Define(w.now, r)
	w.both("define", got, func(m *model) []Effect { return m.define(w.now, r) })
}

func (w *world) stepRemove() {
	name := w.name()
	w.core.Remove(w.now, name)
	if w.model != nil {
		w.model.remove(name)
	}
}

func (w *world) stepSubmit() {
	s := Submission{ID: w.newID(), Dispatcher: w.name(), Key: string(rune('x' + w.pick(2))), Locks: w.someLocks()}
	before, running := w.core.DispatcherCounts(s.Dispatcher)
	v, list, err := w.core.Submit(w.now, s)
	w.must(nil, err)
	r := w.rules[s.Dispatcher]
	switch {
	case v.Refused != "":
		if len(list) > 0 {
			w.t.Fatalf("a refusal has effects: %v", list)
		}
	case v.Joined:
		j := w.job(v.ID)
		if j.state != "queued" || j.started || j.key != s.Key || j.name != s.Dispatcher {
			w.t.Fatalf("joined %+v", j)
		}
		if r.Debounce > 0 {
			w.quiet(j)
		}
	default:
		if r.MaxQueue > 0 && before+running >= r.MaxQueue {
			w.t.Fatalf("%s: accepted above max_queue %d", s.Dispatcher, r.MaxQueue)
		}
		j := &shadow{id: s.ID, name: s.Dispatcher, key: s.Key, locks: s.Locks, accepted: w.now, state: "queued"}
		w.jobs = append(w.jobs, j)
		w.quiet(j)
	}
	w.both("submit", list, func(m *model) []Effect {
		refused, joined, want := m.submit(w.now, s)
		w.same("refusal", v.Refused, refused)
		w.same("joined", v.Joined, joined != ID{})
		if v.Joined {
			w.same("joined whom", v.ID, joined)
		}
		return want
	})
}

// quiet notes when a job that was notified now may start.
func (w *world) quiet(j *shadow) {
	r := w.rules[j.name]
	if r.Debounce <= 0 {
		return
	}
	longest := r.DebounceMax
	if longest == 0 {
		longest = 10 * r.Debounce
	}
	j.notBefore, j.delayed = min(w.now+r.Debounce, j.accepted+longest), true
}

func (w *world) stepRestore() {
	r := Restored{
		Submission: Submission{ID: w.newID(), Dispatcher: w.name(), Key: "x", Locks: w.someLocks()},
		Waited:     w.seconds(10), Attempt: w.pick(2), BackoffLeft: w.seconds(3), Started: w.pick(2) == 0,
	}
	if d := w.core.dispatchers.byName[r.Dispatcher]; d == nil || d.removed && d.outstanding() == 0 { // never defined, or removed and forgotten
		w.rules[r.Dispatcher] = Rules{Name: r.Dispatcher}
	}
	if w.restoreRunning(r) {
		return
	}
	w.loaded = false
	j := &shadow{
		id: r.ID, name: r.Dispatcher, key: r.Key, locks: r.Locks, accepted: w.now - r.Waited, state: "queued",
		attempts: r.Attempt, started: r.Started || r.Attempt > 0,
	}
	w.jobs = append(w.jobs, j)
	if r.BackoffLeft > 0 {
		j.notBefore, j.delayed = w.now+r.BackoffLeft, true
	} else if !j.started {
		w.quiet(j)
	}
	got := w.must(nil, w.core.Restore(w.now, r))
	w.both("restore", got, func(m *model) []Effect { m.restore(w.now, r); return nil })
}

// restoreRunning brings a job back that runs already, where its locks are free.
func (w *world) restoreRunning(r Restored) bool {
	for _, j := range w.running("") {
		if clash(j.locks, r.Locks) {
			return false
		}
	}
	for _, name := range append([]string{"dispatcher:" + r.Dispatcher}, sortedNames(r.Locks)...) {
		if w.busy[name] {
			return false
		}
	}
	if w.pick(3) > 0 || len(w.running(r.Dispatcher)) >= max(1, w.rules[r.Dispatcher].Concurrency) {
		return false
	}
	r.Running, r.Attempt, r.Ran = true, w.pick(3), w.seconds(5)
	w.loaded = false
	w.jobs = append(w.jobs, &shadow{
		id: r.ID, name: r.Dispatcher, key: r.Key, locks: r.Locks, accepted: w.now - r.Waited, state: "running",
		attempts: max(0, r.Attempt-1), started: r.Attempt > 1,
	})
	got := w.must(nil, w.core.Restore(w.now, r))
	w.both("restore", got, func(m *model) []Effect { m.restore(w.now, r); return nil })
	return true
}

func (w *world) stepEnd() {
	if j := w.some("running"); j != nil {
		w.end(j, w.pick(2) == 0)
	}
}

func (w *world) end(j *shadow, retryable bool) {
	j.state = "ending"
	got := w.must(w.core.Ended(w.now, j.id, retryable))
	w.both("ended", got, func(m *model) []Effect { return m.ended(w.now, j.id, retryable) })
	if j.state == "ending" {
		w.t.Fatalf("%x ended, and nothing came of it", j.id)
	}
}

// finish ends a job that starts or runs, for good.
func (w *world) finish(j *shadow) {
	if j.state == "starting" {
		w.started(j)
	}
	w.end(j, false)
}

// stepAnswer answers a Start late.
func (w *world) stepAnswer() {
	if j := w.some("starting"); j != nil {
		w.started(j)
	}
}

// stepRerun takes a run back: its end is not known, or it never began.
func (w *world) stepRerun() {
	j := w.some([]string{"starting", "running"}[w.pick(2)])
	if j == nil {
		return
	}
	counts := w.pick(2) == 0
	if counts {
		j.attempts++
		j.started = true
	}
	j.state, j.again = "ending", true
	got := w.must(w.core.Rerun(w.now, j.id, counts))
	w.both("rerun", got, func(m *model) []Effect { return m.rerun(w.now, j.id, counts) })
	if j.state == "ending" {
		w.t.Fatalf("%x was taken back, and nothing came of it", j.id)
	}
}

// outstanding are the states of a job that is not over.
func outstanding() []string { return []string{"queued", "starting", "running"} }

// stepWrong says something that does not fit the state of a job. The core says
// so, and is as it was.
func (w *world) stepWrong() {
	state := append(outstanding(), "over")[w.pick(4)]
	j := w.some(state)
	if j == nil {
		j = &shadow{id: ID{1}, state: "over"}
	}
	wrong := map[string]func() ([]Effect, error){}
	add := func(event string, fits string, call func() ([]Effect, error)) {
		if !strings.Contains(fits, j.state) {
			wrong[event] = call
		}
	}
	add("Started", "starting", func() ([]Effect, error) { return w.core.Started(w.now, j.id) })
	add("Busy", "starting", func() ([]Effect, error) { return w.core.Busy(w.now, j.id, Reason{Lock: "l"}) })
	add("Rerun", "starting running", func() ([]Effect, error) { return w.core.Rerun(w.now, j.id, true) })
	add("Ended", "running", func() ([]Effect, error) { return w.core.Ended(w.now, j.id, true) })
	add("Cancel", "queued starting running", func() ([]Effect, error) { return w.core.Cancel(w.now, j.id) })
	add("Relock", "queued starting running", func() ([]Effect, error) { return nil, w.core.Relock(w.now, j.id, nil) })
	add("Submit", "over", func() ([]Effect, error) {
		_, got, err := w.core.Submit(w.now, Submission{ID: j.id, Dispatcher: "a"})
		return got, err
	})
	add("Restore", "over", func() ([]Effect, error) {
		return nil, w.core.Restore(w.now, Restored{Submission: Submission{ID: j.id, Dispatcher: "a"}})
	})
	next, due := w.core.Next()
	for event, call := range wrong {
		got, err := call()
		e, ok := errors.AsType[*StateError](err)
		if !ok || len(got) > 0 || e.Event != event || e.ID != j.id {
			w.t.Fatalf("%s for %x, which is %s: %v, effects %v", event, j.id, j.state, err, got)
		}
	}
	if at, ok := w.core.Next(); at != next || ok != due {
		w.t.Fatalf("events out of turn moved Next from %s to %s", next, at)
	}
}

func (w *world) stepCancel() {
	state := outstanding()[w.pick(3)]
	j := w.some(state)
	if j == nil {
		return
	}
	got := w.must(w.core.Cancel(w.now, j.id))
	w.both("cancel", got, func(m *model) []Effect { return m.cancel(w.now, j.id) })
	if state == "queued" && j.state != "over" {
		w.t.Fatalf("%x was canceled in the queue and is %s", j.id, j.state)
	}
}

func (w *world) stepWithdraw() {
	j := w.some(outstanding()[w.pick(3)])
	if j == nil {
		return
	}
	j.state = "over"
	got := w.core.Withdraw(w.now, j.id)
	w.both("withdraw", got, func(m *model) []Effect { return m.withdraw(w.now, j.id) })
}

func (w *world) stepRelock() {
	j := w.some("queued")
	if j == nil {
		return
	}
	j.locks = w.someLocks()
	w.must(nil, w.core.Relock(w.now, j.id, j.locks))
	if w.model != nil {
		w.model.job(j.id).locks = j.locks
	}
	w.tick(w.now) // as the daemon does after a reload
}

func (w *world) stepHold() { w.hold(w.name(), w.pick(2) == 0) }

func (w *world) hold(name string, on bool) {
	since, ending := w.pausedAt[name], w.paused[name] && !on
	if on && !w.paused[name] {
		w.pausedAt[name] = w.now
	}
	w.paused[name] = on
	got := w.core.Pause(w.now, name, on)
	for _, j := range w.jobs {
		if ending && j.name == name {
			j.accepted += w.now - max(since, j.accepted)
		}
	}
	w.both("hold", got, func(m *model) []Effect {
		m.paused[name] = on
		for _, j := range m.jobs {
			if ending && j.name == name {
				j.accepted += w.now - max(since, j.accepted)
			}
		}
		return m.reschedule(w.now)
	})
}

func (w *world) stepFreeze() { w.thaw(w.pick(2) == 0) }

func (w *world) thaw(frozen bool) {
	w.frozen = frozen
	w.core.Freeze(frozen)
	if w.model != nil {
		w.model.frozen = frozen
	}
	w.tick(w.now)
}

// stepOutside lets a process outside take a lock, or give it back. It can only
// take what no job of ours holds.
func (w *world) stepOutside() {
	name := append([]string{"dispatcher:a"}, lockNames()...)[w.pick(4)]
	if w.busy[name] {
		w.busy[name] = false
		return
	}
	for _, j := range w.running("") {
		if "dispatcher:"+j.name == name || clash(j.locks, []Lock{{Name: name}}) {
			return
		}
	}
	w.busy[name] = true
}

// stepLate is a Busy long after its Start, for a reason that is no lock: the
// journal could not be written, or a supervisor died before it began.
func (w *world) stepLate() {
	j, r := w.some("starting"), Reason{Kind: ReasonKind(1 + w.pick(4))}
	if j == nil {
		j, r = w.some("running"), Reason{Kind: NoResources}
	}
	if j == nil {
		return
	}
	if w.core.jobs[j.id].canceled { // it is dropped then
		j.state = "queued"
	}
	w.refuse(j, r)
}

// stepTime lets time pass. What Next did not announce must not happen.
func (w *world) stepTime() {
	to := w.now + time.Duration(w.pick(12))*500*time.Millisecond
	for {
		at, ok := w.core.Next()
		if !ok || at > to {
			break
		}
		if w.tick(max(at, w.now)); w.core.frozen {
			break // what is due and may not start stays due
		}
	}
	if got := w.tick(to); len(got) > 0 && !w.frozen {
		w.t.Fatalf("at %s Next announced nothing, and Tick had %v", to, got)
	}
}

func (w *world) tick(to time.Duration) []Effect {
	w.now, w.loaded = to, true
	got := w.core.Tick(to)
	w.both("tick", got, func(m *model) []Effect { return m.tick(to) })
	return got
}
