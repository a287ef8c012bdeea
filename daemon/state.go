package daemon

import (
	"iter"
	"os"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/schedules"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// state is what the loop owns. Nobody reaches it but through the argument of a
// function that runs there.
type state struct {
	*host
	core           *queue.Core
	jobs           *jobs.State
	journal        *durable.Log
	planner        *schedules.Planner
	outputs        *store.Quota
	inherited      *inherited // from the last image of the program, nil = there was none
	startBlockedBy string     // what the system was short of at the last start that was put off
	draining       bool
	stopping       bool
	owing          bool // a dispatcher has a due time that could not be journaled
	handingOver    bool // to the next image of the program: starts nothing any more
	warnings       []string
	memory         memory
}

// newState makes an empty state.
func newState(h *host, handed *inherited) *state {
	return &state{
		host: h, inherited: handed,
		core: queue.New(queue.Limits{MaxRunning: h.settings.MaxRunning, MaxOutstanding: h.settings.MaxOutstanding}),
		jobs: jobs.New(store.Retention{
			Count: h.settings.HistoryCount, Age: time.Duration(h.settings.HistoryAge), Bytes: h.settings.HistoryBytes,
		}),
		planner: schedules.New(hostname()),
		outputs: store.NewQuota(h.settings.LogBytes),
	}
}

// hostname spreads jitter over the machines of a fleet; a machine without a name
// has none to spread by.
func hostname() string {
	name, _ := os.Hostname()
	return name
}

// openJournal replays the journal into the state, and opens it for writing.
func (s *state) openJournal() (store.Report, error) {
	journal, report, err := s.dir.OpenJournal(s.jobs.Replay())
	if err != nil {
		return report, err
	}
	if s.cfg.disk != nil {
		s.cfg.disk(journal)
	}
	s.journal = durable.New(journal, durable.Owner{
		Log:      s.log,
		Post:     func(fn func()) { s.post(func(*state) { fn() }) },
		Snapshot: s.jobs.Snapshot,
		Broken:   func(error) { s.core.Freeze(true) },
		Works:    s.journalWorks,
	})
	return report, nil
}

// journalWorks resumes starts.
func (s *state) journalWorks() {
	if !s.stopping && !s.handingOver {
		s.core.Freeze(false)
	}
	s.perform(s.core.Tick(s.now()))
}

// record applies a record to the state and gives it to the journal. Whoever waits
// at the gates of what it is about hears of it once it is durable; then (nil =
// nobody) gets the journal's answer after them. A record that does not fit is a
// fault of the daemon: it is logged, and changes nothing.
func (s *state) record(rec store.Record, d mode.Durability, urgent bool, then func(error)) (*jobs.Job, bool) {
	job, err := s.jobs.Apply(rec)
	if err != nil {
		s.log.Error("a record does not fit the state", "op", string(rec.Op), "job", rec.ID.String(), "dispatcher", rec.Dispatcher, "error", err)
		return nil, false
	}
	if job != nil {
		d = job.Level(d)
	}
	s.journal.Write(rec, d, urgent, then, s.jobs.Gates(rec)...)
	return job, true
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

// next is when the queue, a schedule or the memory has work.
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

// after notes that something happened.
func (s *state) after() {
	s.memory.event(s.now())
	s.manager.changed()
}

// idle reports that no job is queued or running.
func (s *state) idle() bool {
	queued, running := s.core.Counts()
	return queued+running == 0
}

// job finds an open job by the queue's id.
func (s *state) job(id queue.ID) (*jobs.Job, bool) { return s.jobs.Job(ulid.ULID(id)) }

// attempts gives the active attempts of all jobs.
func (s *state) attempts() iter.Seq[*attempt] {
	return func(yield func(*attempt) bool) {
		for d := range s.jobs.Dispatchers() {
			for j := range d.Running {
				if a := attemptOf(j); a != nil && !yield(a) {
					return
				}
			}
		}
	}
}

// count adds one to a counter of a dispatcher, and to that of all.
func (s *state) count(name string, pick func(*ipc.Counters) *int64) {
	if d := s.jobs.Dispatcher(name); d != nil {
		s.jobs.Count(d, pick)
	}
}

// specOf is the definition by which a job runs: that of its present or last
// attempt, or the one in force; nil = there is none.
func specOf(j *jobs.Job) *dispatchers.Spec {
	if j.Dispatcher.Spec != nil {
		return j.Dispatcher.Spec
	}
	return j.Spec
}
