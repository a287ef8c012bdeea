package queue

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// world is an owner of a core: it performs effects as the daemon does, keeps
// its own books of every job, and fails the test when the core breaks a
// promise. Fuzz and rapid drive it; with a model it also compares.
type world struct {
	t        testing.TB
	core     *Core
	model    *model // nil: invariants only
	now      time.Duration
	limits   Limits
	rules    map[string]Rules
	paused   map[string]bool
	pausedAt map[string]time.Duration
	frozen   bool
	loaded   bool                     // no Restore since the last Tick
	busy     map[string]bool          // locks held by processes outside
	missed   map[Reason]time.Duration // when a start missed it last
	jobs     []*shadow                // in order of acceptance
	made     uint64
	pick     func(n int) int
}

// shadow is what the owner knows of a job.
type shadow struct {
	id        ID
	name, key string
	locks     []Lock
	accepted  time.Duration
	notBefore time.Duration
	state     string // queued, starting, running, over
	attempts  int    // ended
	started   bool
	again     bool // its run was taken back
	delayed   bool // was in debounce or backoff, or went back by Busy
}

func newWorld(t testing.TB, l Limits, pick func(int) int, m *model) *world {
	return &world{
		t: t, core: New(l), model: m, limits: l, pick: pick, loaded: true,
		rules: map[string]Rules{}, paused: map[string]bool{}, pausedAt: map[string]time.Duration{}, busy: map[string]bool{}, missed: map[Reason]time.Duration{},
	}
}

// names are the dispatchers of the world.
func names() []string { return []string{"a", "b", "c"} }

// lockNames are the locks of the world.
func lockNames() []string { return []string{"l", "m", "n"} }

func (w *world) name() string { return names()[w.pick(len(names()))] }

func (w *world) seconds(n int) time.Duration { return time.Duration(w.pick(n)) * time.Second }

func (w *world) someLocks() (list []Lock) {
	for _, name := range lockNames() {
		if k := w.pick(5); k < 2 {
			list = append(list, Lock{Name: name, Shared: k == 1})
		}
	}
	return list
}

func (w *world) newID() (id ID) {
	w.made++
	binary.BigEndian.PutUint64(id[:], w.made)
	return id
}

// some is one of the jobs in a state, or nil.
func (w *world) some(state string) *shadow {
	var list []*shadow
	for _, j := range w.jobs {
		if j.state == state {
			list = append(list, j)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[w.pick(len(list))]
}

func (w *world) job(id ID) *shadow {
	i := slices.IndexFunc(w.jobs, func(j *shadow) bool { return j.id == id })
	if i < 0 {
		w.t.Fatalf("effect for unknown job %x", id)
	}
	return w.jobs[i]
}

// running are the jobs that start or run, of one dispatcher or of all.
func (w *world) running(name string) (list []*shadow) {
	for _, j := range w.jobs {
		if (j.state == "starting" || j.state == "running") && (name == "" || j.name == name) {
			list = append(list, j)
		}
	}
	return list
}

// same compares the core's answer with the model's. What an expired job waited for
// is words for people; TestExpireSaysWhy has it.
func (w *world) same(what string, got, want any) {
	w.t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Expire{}, "For")); diff != "" {
		w.t.Fatalf("%s at %s: core differs from model (-model +core):\n%s", what, w.now, diff)
	}
}

// both calls core and model and performs the effects.
func (w *world) both(what string, got []Effect, want func(*model) []Effect) {
	w.t.Helper()
	if w.model != nil {
		w.same(what, effects(got), effects(want(w.model)))
	}
	w.perform(got)
}

// must fails if an event was said to be out of turn.
func (w *world) must(got []Effect, err error) []Effect {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("at %s: %v", w.now, err)
	}
	return got
}

// perform does what the daemon does: first the whole list, then what it has to
// say to it.
func (w *world) perform(list []Effect) {
	var answers []func()
	defer func() {
		for _, answer := range answers {
			answer()
		}
	}()
	for _, e := range list {
		switch e := e.(type) {
		case Start:
			answers = append(answers, w.start(w.job(e.ID), e.Attempt))
		case Stop:
			if j := w.job(e.ID); j.state != "starting" {
				w.want(j, "running", e)
			}
		case Expire:
			j := w.job(e.ID)
			w.want(j, "queued", e)
			if limit := w.rules[j.name].QueueTimeout; j.started || limit == 0 || w.paused[j.name] || w.now < j.accepted+limit {
				w.t.Fatalf("%x expired at %s, accepted at %s", j.id, w.now, j.accepted)
			}
			j.state = "over"
		case Drop:
			w.want(w.job(e.ID), "queued", e)
			w.job(e.ID).state = "over"
		case Requeue:
			j := w.job(e.ID)
			w.want(j, "ending", e)
			again := j.again
			if j.again = false; !again {
				j.attempts++
				j.started = true
			}
			j.state, j.delayed, j.notBefore = "queued", true, w.now+e.After
			if j.attempts != e.Attempt || !again && j.attempts > w.rules[j.name].Retries {
				w.t.Fatalf("%x: retry after attempt %d of %d", j.id, e.Attempt, w.rules[j.name].Retries)
			}
		case Finish:
			w.want(w.job(e.ID), "ending", e)
			w.job(e.ID).state = "over"
		}
	}
}

// want fails if a job is not in the state from which an effect leads on.
func (w *world) want(j *shadow, state string, e Effect) {
	w.t.Helper()
	if j.state != state {
		w.t.Fatalf("%T for %x, which is %s", e, j.id, j.state)
	}
}

// start checks every promise about starts, then tries the locks outside. It
// gives the answer: one of three may also come later, by stepAnswer.
func (w *world) start(j *shadow, attempt int) func() {
	w.want(j, "queued", Start{})
	r := w.rules[j.name]
	all, mine := w.running(""), w.running(j.name)
	var broken string
	switch {
	case attempt != j.attempts+1:
		broken = fmt.Sprintf("attempt %d after %d", attempt, j.attempts)
	case w.frozen || !w.loaded || w.paused[j.name]:
		broken = "frozen, restoring or held"
	case len(mine) >= max(1, r.Concurrency):
		broken = "above concurrency"
	case w.limits.MaxRunning > 0 && len(all) >= w.limits.MaxRunning:
		broken = "above max_running"
	case w.now < j.notBefore:
		broken = fmt.Sprintf("before %s", j.notBefore)
	case !j.started && r.QueueTimeout > 0 && w.now >= j.accepted+r.QueueTimeout:
		broken = "after its queue timeout"
	case r.Concurrency <= 1 && w.overtakes(j):
		broken = "before an earlier one of its dispatcher"
	}
	for _, o := range all {
		if clash(j.locks, o.locks) {
			broken = fmt.Sprintf("with a lock that %x holds", o.id)
		}
	}
	for _, name := range j.takes() {
		if at, missed := w.missed[Reason{Lock: name}]; missed && w.now < at+time.Second {
			broken = fmt.Sprintf("%s after %s was held outside", w.now-at, name)
		}
	}
	if broken != "" {
		w.t.Fatalf("start of %x (%s) at %s: %s", j.id, j.name, w.now, broken)
	}
	j.state = "starting"
	for _, name := range j.takes() {
		if w.busy[name] {
			return func() { w.refuse(j, Reason{Lock: name, PID: 42}) }
		}
	}
	if w.pick(3) == 0 {
		return func() {}
	}
	return func() { w.started(j) }
}

// takes are the locks that a start takes on disk, in their order.
func (j *shadow) takes() []string {
	return append([]string{"dispatcher:" + j.name}, sortedNames(j.locks)...)
}

// refuse answers a Start with Busy.
func (w *world) refuse(j *shadow, r Reason) {
	if j.state == "over" { // withdrawn, while an earlier answer was performed
		return
	}
	j.state, j.delayed = "queued", true
	w.missed[r.cause()] = w.now
	got := w.must(w.core.Busy(w.now, j.id, r))
	w.both("busy", got, func(m *model) []Effect { return m.busy(w.now, j.id, r) })
}

// started answers a Start.
func (w *world) started(j *shadow) {
	j.state = "running"
	got := w.must(w.core.Started(w.now, j.id))
	w.both("started", got, func(m *model) []Effect { return m.confirmed(w.now, j.id) })
}

// overtakes says whether an earlier job of the dispatcher, that was always
// ready, is still in line.
func (w *world) overtakes(j *shadow) bool {
	for _, o := range w.jobs {
		if o == j {
			return false
		}
		if o.name == j.name && o.state == "queued" && !o.delayed {
			return true
		}
	}
	return false
}

// sortedNames are the names of locks in the order in which they are tried.
func sortedNames(list []Lock) (out []string) {
	for _, l := range list {
		out = append(out, l.Name)
	}
	slices.Sort(out)
	return out
}

// clash says whether two jobs may not run together.
func clash(a, b []Lock) bool {
	for _, x := range a {
		for _, y := range b {
			if x.Name == y.Name && !(x.Shared && y.Shared) {
				return true
			}
		}
	}
	return false
}

// check looks at what must hold after every step.
func (w *world) check() {
	w.t.Helper()
	w.jobs = slices.DeleteFunc(w.jobs, func(j *shadow) bool { return j.state == "over" })
	queued, running := 0, 0
	for _, j := range w.jobs {
		wait, waits := w.core.Waiting(w.now, j.id)
		if waits != (j.state == "queued") {
			w.t.Fatalf("%x is %s, waiting: %v", j.id, j.state, waits)
		}
		switch j.state {
		case "queued":
			queued++
			if (wait.Reason == waitDisk) != (wait.Missing == NoRoom) {
				w.t.Fatalf("%x waits for %+v", j.id, wait)
			}
			if wait.Reason == waitDisk { // the model knows one reason for all that a start was missing
				wait.Reason = waitLock
			}
			if wait.Reason == "" || wait.Position < 1 || wait.Reason == waitLock && (wait.Lock == "") == (wait.Missing == LockHeld) {
				w.t.Fatalf("%x waits for nothing: %+v", j.id, wait)
			}
		case "starting", "running":
			running++
		}
		if w.model != nil && waits {
			w.same("reason", wait.Reason, w.model.reason(j.id, w.now))
		}
	}
	if q, r := w.core.Counts(); q != queued || r != running {
		w.t.Fatalf("counts %d+%d, but %d are queued and %d run", q, r, queued, running)
	}
	w.core.Locks(w.now)
	w.sound()
}

// sound looks into the core: lines sorted, slots true, nothing left over.
func (w *world) sound() {
	c := w.core
	for i, t := range c.pending.timers.heap {
		if int(t.job.slot) != i || i > 0 && c.pending.timers.before(i, (i-1)/2) {
			w.t.Fatalf("timer %d is out of order", i)
		}
	}
	joinable := 0
	for name, d := range c.dispatchers.byName {
		joinable += len(d.keys)
		for i := 1; i < d.fifo.len(); i++ {
			if d.fifo.at(i-1).seq >= d.fifo.at(i).seq {
				w.t.Fatalf("line of %s is out of order", name)
			}
		}
	}
	if len(c.jobs) == 0 && (len(c.locks.granted)+len(c.locks.external.blocked)+len(c.pending.timers.heap)+joinable > 0) {
		w.t.Fatalf("left over: %+v", c.locks)
	}
}

// drain ends all that runs until nothing is left. What is left then is stuck.
func (w *world) drain() {
	clear(w.busy)
	for j := w.some("starting"); j != nil; j = w.some("starting") {
		w.started(j)
	}
	w.thaw(false)
	for _, name := range names() {
		w.hold(name, false)
	}
	w.tick(w.now)
	for range 20*len(w.jobs) + 50 {
		q, r := w.core.Counts()
		if q+r == 0 {
			break
		}
		if list := w.running(""); len(list) > 0 {
			w.finish(list[0])
			continue
		}
		at, ok := w.core.Next()
		if !ok {
			w.t.Fatalf("stuck: %d queued, nothing runs, nothing is due", q)
		}
		w.tick(max(at, w.now))
	}
	if q, r := w.core.Counts(); q+r > 0 {
		w.t.Fatalf("does not drain: %d queued, %d running", q, r)
	}
	w.check()
	for _, j := range w.jobs {
		if j.state != "over" {
			w.t.Fatalf("%x has not ended: %s", j.id, j.state)
		}
	}
}
