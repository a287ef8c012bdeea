package daemon

import (
	"iter"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/run"
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
	startBlockedBy string // what the system was short of at the last start that was put off
	lacking        string // the disk that has too little room to start anything, "" = there was room
	stopping       bool
	owing          bool // a dispatcher has a due time that could not be journaled
	handingOver    bool // to the next image of the program: starts nothing any more
	warnings       []string
	memory         memory
	lookAt         time.Duration // when the daemon's own files are looked at next, 0 = it does not serve yet
}

// attempt is an active attempt of a job, as the loop knows it. The loop owns all of
// it but what run.Attempt says is anybody's.
type attempt struct {
	*run.Attempt
	job        *jobs.Job
	answered   bool // the queue knows that it has started
	neverBegan bool // an earlier daemon went down before it started anything
	state      ipc.State
	outcome    *store.Outcome // known once the child has ended
}

// id is the queue's id of the attempt's job.
func (a *attempt) id() queue.ID { return queue.ID(a.ID) }

// attemptOf is a job's active attempt, nil = it does not run.
func attemptOf(j *jobs.Job) *attempt {
	a, _ := j.Attempt.(*attempt)
	return a
}

// newState makes an empty state.
func newState(h *host) *state {
	return &state{
		host: h,
		core: queue.New(queue.Limits{MaxRunning: h.settings.MaxRunning, MaxOutstanding: h.settings.MaxOutstanding}),
		jobs: jobs.New(store.Retention{
			Count: h.settings.HistoryCount, Age: time.Duration(h.settings.HistoryAge), Bytes: h.settings.HistoryBytes,
			Floor: h.settings.HistoryKeep,
		}),
		outputs: store.NewQuota(h.settings.LogBytes),
	}
}

// record applies a record to the state and gives it to the journal. Whoever waits
// at the gates of what it is about hears of it once it is durable; then (nil =
// nobody) gets the journal's answer after them. A record that does not fit is a
// fault of the daemon: it is logged, and changes nothing.
func (s *state) record(rec store.Record, d mode.Durability, urgent bool, then func(error)) (*jobs.Job, bool) {
	rec.Lived = s.timeline.Lived()
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

// specOf is the definition by which a job runs next: the one in force, or where
// that is gone that of its last attempt; nil = there is none.
func specOf(j *jobs.Job) *dispatchers.Spec {
	if j.Dispatcher.Spec != nil {
		return j.Dispatcher.Spec
	}
	return j.Spec
}
