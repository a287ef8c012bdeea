package daemon

import (
	"os"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/schedules"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/scheduler"
)

// state is what the loop owns. Nobody reaches it but through the argument of a
// function that runs there.
type state struct {
	*host
	core           *queue.Core
	book           *jobs.Book
	journal        *store.Journal
	runs           map[queue.ID]*attempt
	inflight       map[queue.ID][]func(error) // accepted, not yet durable: who wants to know
	waiters        map[queue.ID][]chan struct{}
	ending         map[queue.ID]*ending        // ended, not yet durable
	joining        map[store.Key][]func(error) // joined, not yet durable: who asked again
	failings       map[string]*failing         // caches whose last refresh failed
	planner        *schedules.Planner
	deferred       map[string]scheduler.Occurrence // due times that could not be journaled
	tallies        map[string]*tally
	total          ipc.Counters
	gone           map[string]*dispatchers.Spec // removed by a reload, jobs still open
	inherited      *inherited                   // by the last image of the program, nil = none
	lastID         ulid.ULID
	journalErr     error
	startBlockedBy string // why a start was put off last
	draining       bool
	outputs        *store.Quota
	stopping       bool
	handingOver    bool // to the next image of the program: starts nothing any more
	warnings       []string
	memory         memory
}

// newState makes an empty state.
func newState(h *host, handed *inherited) *state {
	return &state{
		host: h, inherited: handed,
		core: queue.New(queue.Limits{MaxRunning: h.settings.MaxRunning, MaxOutstanding: h.settings.MaxOutstanding}),
		book: jobs.NewBook(store.Retention{
			Count: h.settings.HistoryCount, Age: time.Duration(h.settings.HistoryAge), Bytes: h.settings.HistoryBytes,
		}),
		deferred: map[string]scheduler.Occurrence{},
		planner:  schedules.New(hostname()),
		failings: map[string]*failing{},
		runs:     map[queue.ID]*attempt{},
		inflight: map[queue.ID][]func(error){},
		waiters:  map[queue.ID][]chan struct{}{},
		ending:   map[queue.ID]*ending{},
		joining:  map[store.Key][]func(error){},
		tallies:  map[string]*tally{},
		outputs:  store.NewQuota(h.settings.LogBytes),
	}
}

// hostname spreads jitter over the machines of a fleet; a machine without a name
// has none to spread by.
func hostname() string {
	name, _ := os.Hostname()
	return name
}

// recover is the first thing on the loop: definitions, and the jobs of the
// journal.
func (s *state) recover(suspects []ulid.ULID) {
	s.load()
	s.recallFailures()
	s.restore(suspects)
	if s.inherited != nil {
		s.draining, s.total = s.inherited.Draining, s.inherited.Counters
		s.core.Drain(s.draining)
	}
}

// tally is what the daemon counts of one dispatcher.
type tally struct {
	counters  ipc.Counters
	lastJob   string
	lastState ipc.State
}

// due does what is due by now, and reports whether there was anything.
func (s *state) due() bool {
	if s.memory.rests(s.now()) {
		go giveBack(s.log)
	}
	effects := s.core.Tick(s.now())
	s.perform(effects)
	return s.submitDue() || len(effects) > 0
}

// next is when the queue or a schedule has work.
func (s *state) next() (time.Duration, bool) {
	next, ok := s.core.Next()
	next = max(0, next-s.now())
	if nap, some := s.planner.Next(s.clock()); some && (!ok || nap < next) {
		next, ok = nap, true
	}
	if calm, some := s.memory.next(s.now()); some && (!ok || calm < next) {
		next, ok = calm, true
	}
	return next, ok
}

// after tells those who watch that something happened.
func (s *state) after() {
	s.memory.event(s.now())
	s.manager.changed()
}

// idle reports that no job is queued or running.
func (s *state) idle() bool {
	queued, running := s.core.Counts()
	return queued+running == 0
}

// tally gives the counters of a dispatcher.
func (s *state) tally(name string) *tally {
	t := s.tallies[name]
	if t == nil {
		t = &tally{}
		s.tallies[name] = t
	}
	return t
}

// count adds one to the same counter of a dispatcher and of all.
func (s *state) count(name string, pick func(*ipc.Counters) *int64) {
	*pick(&s.tally(name).counters)++
	*pick(&s.total)++
}

// newID makes the next id: ULIDs in order of acceptance, also within a
// millisecond and after the clock went back.
func (s *state) newID(at time.Time) ulid.ULID {
	id := ulid.Make()
	_ = id.SetTime(ulid.Timestamp(at))
	if id.Compare(s.lastID) <= 0 {
		id = s.lastID
		for i := len(id) - 1; i >= 0; i-- {
			id[i]++
			if id[i] != 0 {
				break
			}
		}
	}
	s.lastID = id
	return id
}
