package daemon

import (
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/singleflight"

	"dispatchd/daemon/internal/launch"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/scheduler"
)

// engine is the running daemon. Fields below the line belong to the loop.
type engine struct {
	cfg       Config
	log       *slog.Logger
	settings  dispatchers.Settings
	dir       *store.Dir
	journal   *store.Journal
	epoch     time.Time
	catalog   atomic.Pointer[dispatchers.Catalog]
	given     *handover // by the last image of the program, nil = none
	activated bool      // the socket is the service manager's
	build     *launch.Builder
	starter   func(*run, gear) (process, error) // startProcess; another in tests of time
	wall      func() time.Time                  // time.Now; another in tests of clock steps
	caches    *store.Caches
	flights   singleflight.Group // readers who want the same cache refreshed
	upgrades  chan struct{}
	calls     chan func()
	bootID    string        // of the machine
	boot      string        // the same, short
	epochID   string        // of the run directory
	looks     chan func()   // from who only looks
	stirred   chan struct{} // the status may be another; nil = nobody is told
	poked     chan struct{} // something was posted
	postMu    sync.Mutex
	posted    []func()
	done      chan struct{} // closed when the loop is to end
	ended     chan struct{} // closed when it has ended

	// The loop's own.
	core       *queue.Core
	book       *store.Book
	runs       map[queue.ID]*run
	inflight   map[queue.ID][]func(error) // accepted, not yet durable: who wants to know
	waiters    map[queue.ID][]chan struct{}
	ending     map[queue.ID]*ending        // ended, not yet durable
	joining    map[store.Key][]func(error) // joined, not yet durable: who asked again
	conditions []condition                 // what others wait for
	failings   map[string]*failing         // caches whose last refresh failed
	agenda     scheduler.Agenda
	owed       map[string]scheduler.Tick // due times that could not be journaled
	tallies    map[string]*tally
	total      ipc.Counters
	gone       map[string]*dispatchers.Spec // removed by a reload, jobs still open
	lastID     ulid.ULID
	journalErr error
	shortage   string // why a start was put off last
	draining   bool
	outputs    *store.Quota
	stopping   bool
	leaving    bool // for the next image of the program: starts nothing any more
	warnings   []string
}

// tally is what the daemon counts of one dispatcher.
type tally struct {
	counters  ipc.Counters
	lastJob   string
	lastState ipc.State
}

// now is the queue's clock: monotonic, since the daemon's start.
func (e *engine) now() time.Duration { return time.Since(e.epoch) }

// loop runs what others send, and the queue's timers, until done is closed.
func (e *engine) loop() {
	defer close(e.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	mem := newMemory()
	defer mem.timer.Stop()
	e.onTime()
	for {
		e.arm(timer)
		select {
		case <-mem.timer.C:
			if mem.rests(e.now()) {
				go debug.FreeOSMemory()
			}
			continue
		case look := <-e.looks:
			look()
			continue
		case call := <-e.calls:
			call()
		case <-e.poked:
			for _, fn := range e.takePosted() {
				fn()
			}
		case <-timer.C:
			if !e.onTime() {
				continue // a nap's end is no event: the memory is at rest already
			}
		case <-e.done:
			return
		}
		mem.event(e.now())
		e.stir()
		e.conditions = slices.DeleteFunc(e.conditions, condition.over)
	}
}

// onTime does what is due by now, and reports whether there was anything.
func (e *engine) onTime() bool {
	effects := e.core.Tick(e.now())
	e.perform(effects)
	return e.tick() || len(effects) > 0
}

// condition is something that somebody waits for; it is looked at after each
// event, on the loop.
type condition struct {
	holds func() bool
	ch    chan struct{}   // closed when it does
	gone  <-chan struct{} // closed when nobody waits any more
}

// over closes the channel of a condition that holds. One that nobody waits for
// is over too.
func (c condition) over() bool {
	select {
	case <-c.gone:
		return true
	default:
	}
	if !c.holds() {
		return false
	}
	close(c.ch)
	return true
}

// until gives a channel that is closed when a condition holds. The loop calls
// holds, and nobody else.
func (e *engine) until(ctx context.Context, holds func() bool) (<-chan struct{}, error) {
	c := condition{holds, make(chan struct{}), ctx.Done()}
	return c.ch, e.do(ctx, func() { e.conditions = append(e.conditions, c) })
}

// idle reports that no job is queued or running.
func (e *engine) idle() bool {
	queued, running := e.core.Counts()
	return queued+running == 0
}

// arm sets the timer to the next instant at which the queue or a schedule has
// work; without one it is stopped, so that an idle daemon sleeps.
func (e *engine) arm(timer *time.Timer) {
	next, ok := e.core.Next()
	next = max(0, next-e.now())
	if nap, some := e.agenda.Next(e.clock()); some && (!ok || nap < next) {
		next, ok = nap, true
	}
	if !ok {
		timer.Stop()
		return
	}
	timer.Reset(next)
}

// do runs fn on the loop and waits for it.
func (e *engine) do(ctx context.Context, fn func()) error {
	ran := make(chan struct{})
	select {
	case e.calls <- func() { fn(); close(ran) }:
	case <-ctx.Done():
		return ctx.Err()
	case <-e.done:
		return errStopping()
	}
	select {
	case <-ran:
		return nil
	case <-e.ended:
		return errStopping()
	}
}

// post sends fn to the loop and never waits, so that the loop itself may post:
// the journal answers at once where nothing is written. The list is bounded by
// what posts: runs, and records on their way to the disk.
func (e *engine) post(fn func()) {
	e.postMu.Lock()
	e.posted = append(e.posted, fn)
	e.postMu.Unlock()
	select {
	case e.poked <- struct{}{}:
	default: // the loop knows already
	}
}

// takePosted empties the list.
func (e *engine) takePosted() []func() {
	e.postMu.Lock()
	defer e.postMu.Unlock()
	list := e.posted
	e.posted = nil
	return list
}

// errStopping is the answer to who comes while the daemon goes down.
func errStopping() *ipc.Error {
	err := ipc.Errorf(ipc.KindDraining, "the daemon is stopping")
	err.RetryAfter = 5
	err.Suggestion = "ask again when it has started; use the same Idempotency-Key if you are not sure it was accepted"
	return err
}

// tally gives the counters of a dispatcher.
func (e *engine) tally(name string) *tally {
	t := e.tallies[name]
	if t == nil {
		t = &tally{}
		e.tallies[name] = t
	}
	return t
}

// count adds one to the same counter of a dispatcher and of all.
func (e *engine) count(name string, pick func(*ipc.Counters) *int64) {
	*pick(&e.tally(name).counters)++
	*pick(&e.total)++
}

// newID makes the next id: ULIDs in order of acceptance, also within a
// millisecond and after the clock went back.
func (e *engine) newID(at time.Time) ulid.ULID {
	id := ulid.Make()
	_ = id.SetTime(ulid.Timestamp(at))
	if id.Compare(e.lastID) <= 0 {
		id = e.lastID
		for i := len(id) - 1; i >= 0; i-- {
			id[i]++
			if id[i] != 0 {
				break
			}
		}
	}
	e.lastID = id
	return id
}
