package daemon

import (
	"errors"
	"log/slog"
	"time"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/run"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// events carries what run tells of attempts to the loop.
type events struct{ *host }

// Started is run.Events'.
func (e events) Started(a *run.Attempt, c run.Child) {
	e.post(func(s *state) { performing(s).started(a, c) })
}

// Progressed is run.Events'.
func (e events) Progressed(a *run.Attempt, u proc.Update) {
	e.post(func(s *state) { performing(s).progressed(a, u) })
}

// NotStarted is run.Events'.
func (e events) NotStarted(a *run.Attempt, err error) {
	e.post(func(s *state) { performing(s).notStarted(a, err) })
}

// Ended is run.Events'.
func (e events) Ended(a *run.Attempt, res run.Result) {
	e.post(func(s *state) { performing(s).attemptEnded(a, res) })
}

// active gives the attempt that run tells of, nil = its job was withdrawn meanwhile.
func (s performer) active(a *run.Attempt) *attempt {
	if j, ok := s.jobs.Job(a.ID); ok {
		if r := attemptOf(j); r != nil && r.Attempt == a {
			return r
		}
	}
	return nil
}

// started notes that the child exists; a cancel or a stop may have come before it
// did.
func (s performer) started(a *run.Attempt, c run.Child) {
	r := s.active(a)
	if r == nil {
		return
	}
	err := r.Attach(c)
	if s.stopping && !r.SurvivesDaemon() {
		err = errors.Join(err, r.Stop())
	}
	r.logStop(s.log, err)
	s.answerStart(r)
}

// answerStart answers an attempt's Start: it has its locks, its start is durable,
// and it runs or is about to fail. What the queue decides then is performed.
func (s performer) answerStart(r *attempt) {
	if !r.answered {
		r.answered = true
		s.decide(s.core.Started(s.now(), r.id()))
	}
}

// progressed keeps what a running job says of itself.
func (s performer) progressed(a *run.Attempt, u proc.Update) {
	if r := s.active(a); r != nil && r.Note(u) {
		s.log.Warn("job runs longer than its timeout, and its kill_mode lets it",
			"dispatcher", r.Spec.Name, "job", r.Job.ID, "timeout", r.Spec.Timeout)
	}
}

// notStarted puts an attempt back that has no child. The queue tries it again as
// soon as the journal works, or, where the system was short of something, after a
// second.
func (s performer) notStarted(a *run.Attempt, cause error) {
	r := s.active(a)
	if r == nil {
		return
	}
	r.ReleaseRetaken()
	r.job.Attempt = nil
	rec := store.Record{Op: store.OpRequeue, ID: r.ID, At: time.Now().UnixNano(), Attempt: int32(r.Job.Attempt - 1)}
	if errors.Is(cause, run.ErrNotRecorded) { // the journal has not even the start
		if _, err := s.jobs.Revert(rec); err != nil {
			s.log.Error("a start cannot be taken back", "job", r.Job.ID, "error", err)
		}
		s.decide(s.core.Busy(s.now(), r.id(), queue.Reason{Kind: queue.NoJournal}))
		return
	}
	s.log.Warn("a job cannot be started now", "dispatcher", r.Spec.Name, "job", r.Job.ID, "error", cause)
	s.record(rec, s.durability(r.Spec), false, nil)
	s.decide(s.core.Busy(s.now(), r.id(), s.blocked(cause)))
}

// attemptEnded lets the queue decide what follows the end of an attempt. Its locks
// are free.
func (s performer) attemptEnded(a *run.Attempt, res run.Result) {
	r := s.active(a)
	if r == nil {
		if res.Spare != nil {
			res.Spare.Discard()
		}
		return
	}
	r.ReleaseRetaken()
	s.answerStart(r)
	d := r.job.Dispatcher
	keepSpare(d, res.Spare)
	defer keepSpare(d, nil) // what has started since has used it
	if res.NeverBegan() && !r.Canceled() {
		r.neverBegan = true
		s.decide(s.core.Rerun(s.now(), r.id(), false))
		return
	}
	cause := run.Cause{Canceled: r.Canceled(), Stopping: s.stopping}
	r.state, r.outcome = res.Judge(r.Spec, cause)
	rerun := r.Spec.OnInterrupt == mode.Rerun && !r.Canceled()
	switch {
	case rerun && res.Unknown(r.state):
		s.decide(s.core.Rerun(s.now(), r.id(), true))
	case rerun && s.stopping && r.state != ipc.Succeeded:
		s.leaveForRerun(r)
	default:
		s.decide(s.core.Ended(s.now(), r.id(), res.Retryable(r.Spec, cause, r.state)))
	}
}

// keepSpare keeps a supervisor for the next run of a dispatcher, instead of the one
// that was kept before, which ends. nil keeps none.
func keepSpare(d *jobs.Dispatcher, s run.Spare) {
	if d.Spare != nil {
		d.Spare.Discard()
	}
	d.Spare = s
}

// leaveForRerun puts a job that the stop interrupted back into the queue of
// the next daemon.
func (s performer) leaveForRerun(r *attempt) {
	r.job.Attempt = nil
	r.forgetFiles()
	s.record(store.Record{
		Op: store.OpRequeue, ID: r.ID, At: time.Now().UnixNano(), Attempt: int32(r.Job.Attempt), Run: r.outcome,
	}, s.durability(r.Spec), true, nil)
}

// cancelAttempt ends a running job because somebody canceled it.
func (s performer) cancelAttempt(id queue.ID) {
	if j, ok := s.job(id); ok {
		if r := attemptOf(j); r != nil {
			r.logStop(s.log, r.Cancel())
		}
	}
}

// logStop logs that a child could not be told to end.
func (a *attempt) logStop(log *slog.Logger, err error) {
	if err != nil {
		log.Error("a job cannot be stopped", "dispatcher", a.Spec.Name, "job", a.Job.ID, "error", err)
	}
}

// forgetFiles removes the files of an attempt once the record that is written next
// is durable: a start that finds a running job without them takes it for one that
// never began, and runs it again. A journal that is broken has to be written anew
// before that.
func (a *attempt) forgetFiles() {
	remove := a.Files.Remove
	if c := a.Child(); c != nil && !c.Supervised() {
		remove = func() { a.Files.RemoveOwn(len(a.Job.Arguments) > 0) }
	}
	a.job.Gate().OnDurable(func() { go remove() })
}
