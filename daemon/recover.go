package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/run"
	"dispatchd/daemon/internal/shim"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// recovery brings back what was before this daemon.
type recovery struct{ definitions }

// recovering gives the recovery of the state.
func recovering(s *state) recovery { return recovery{defining(s)} }

// recover is the first thing on the loop: definitions, and the jobs of the
// journal.
func (s recovery) recover(suspects []ulid.ULID) {
	s.shortenLocks()
	s.load()
	s.restoreBackoff()
	s.restore(suspects)
	s.prune(0)
	if s.inherited != nil {
		s.jobs.Total = s.inherited.Counters
		if s.inherited.Draining && s.jobs.Drain == nil { // by a version that did not write it down
			s.drain(self(), true, func(error) {})
		}
	}
	s.core.Drain(s.jobs.Drain != nil)
	if by := s.jobs.Drain; by != nil {
		s.log.Warn("draining: no job is accepted; to end that run: dispatchctl undrain", "since", by.At, "uid", by.UID)
	}
}

// restore brings the jobs of the journal back into the queue. Nothing starts
// before everything is known.
func (s recovery) restore(suspects []ulid.ULID) {
	doubtful := s.resolveSuspects(suspects)
	var queued, adopted, interrupted int
	for d := range s.jobs.Dispatchers() {
		if d.Paused {
			s.core.Pause(s.now(), d.Name, true)
		}
	}
	removeAll(s.staleAttemptFiles()) // before anything ends: the state is the journal now
	for job := range s.jobs.Open() {
		switch {
		case doubtful[job.ID()]:
			interrupted++
			s.interrupted(job, "the journal was damaged where it may say that it started, and its end is not known")
		case job.State().State == ipc.Queued:
			queued++
			s.requeueRestored(job, job.State().Attempt > 0)
		case s.adopt(job):
			adopted++
		default:
			interrupted++
			s.interrupted(job, "the machine went down while it ran, and its end is not known")
		}
	}
	proc.SweepTrees()
	if queued+adopted+interrupted > 0 {
		s.log.Info("jobs restored", "queued", queued, "running_or_ended_meanwhile", adopted, "interrupted", interrupted)
	}
}

// restoreBackoff finds the caches whose last refresh failed before this daemon.
func (s recovery) restoreBackoff() {
	for d := range s.jobs.Dispatchers() {
		if d.Spec == nil || d.Spec.Cache == nil {
			continue
		}
		for _, job := range s.jobs.List(ipc.JobFilter{Dispatcher: d.Name, Limit: 1}) {
			if st := job.State(); st.State.Final() && st.State != ipc.Succeeded && st.Run != nil {
				s.refreshed(job, st.State, st.Run)
			}
		}
	}
}

// resolveSuspects finds out what became of queued jobs whose start may be among
// what a damaged journal lost. Where there are files of the attempt, the start is
// noted anew, and the run is taken over as any other. It gives those that left no
// trace: they may have run and ended, and are not run twice.
func (s recovery) resolveSuspects(suspects []ulid.ULID) map[ulid.ULID]bool {
	doubtful := map[ulid.ULID]bool{}
	for _, id := range suspects {
		job, ok := s.jobs.Job(id)
		if !ok {
			continue
		}
		spec := job.Dispatcher.Spec
		rec := store.Record{Op: store.OpStart, ID: id, At: time.Now().UnixNano(), Attempt: job.State().Attempt + 1, Epoch: s.epochID}
		switch {
		case s.attemptFiles(id, int(rec.Attempt)).Started():
			s.record(rec, s.durability(spec), true, nil)
		case spec == nil || spec.OnInterrupt != mode.Rerun:
			doubtful[id] = true
		}
	}
	return doubtful
}

// adopt takes over a run of the last daemon, whether it goes on, has ended, or is not
// known to have: then it is over when nothing is left of it. False: it was before the
// machine was booted.
func (s recovery) adopt(job *jobs.Job) bool {
	if !s.ofThisBoot(job) {
		return false
	}
	last := job.State().Run
	spec := job.Dispatcher.Spec
	if spec == nil {
		spec = &dispatchers.Spec{
			Name: job.Dispatcher.Name, Concurrency: 1, OnInterrupt: mode.Fail, SurviveRestart: true, SuccessExitCodes: []int{0},
			MaxOutput: dispatchers.DefaultMaxOutput,
		}
		s.placeholder(job)
	}
	r := s.newAttempt(job, int(job.State().Attempt), spec, time.Unix(0, last.StartedAt), nil)
	if !s.resume(r) {
		s.runner.Adopt(s.following, r.Attempt, events{s.host})
	}
	s.restoreRunning(r)
	return true
}

// ofThisBoot reports whether a job's attempt can be one of this boot. What tells of the
// boot may have been removed from the run directory: a living supervisor tells it, too.
func (s recovery) ofThisBoot(job *jobs.Job) bool {
	last := job.State().Run
	if last == nil {
		return false
	}
	if last.Epoch == s.epochID {
		return true
	}
	start, _ := s.attemptFiles(job.ID(), int(job.State().Attempt)).ReadStart()
	return start.OfThisBoot() || shim.Lives(job.ID().String())
}

// resume takes over a run whose child the last image handed us.
func (s recovery) resume(r *attempt) bool {
	if s.inherited == nil {
		return false
	}
	i := slices.IndexFunc(s.inherited.Runs, func(h handedRun) bool { return h.Job == r.Job.ID && h.Attempt == r.Job.Attempt })
	if i < 0 {
		return false
	}
	h := s.inherited.Runs[i]
	var locks run.Locks
	for _, l := range h.Locks {
		locks.Add(os.NewFile(uintptr(l.FD), "lock"), l.Shared)
	}
	if err := s.runner.Resume(s.following, r.Attempt, h.Child, &locks, events{s.host}); err != nil {
		s.log.Error("a handed child cannot be watched", "job", h.Job, "error", err)
		return false
	}
	return true
}

// restoreRunning tells the queue of a run that goes on.
func (s recovery) restoreRunning(r *attempt) {
	r.answered = true
	s.inTurn(s.core.Restore(s.now(), queue.Restored{
		Submission: queue.Submission{ID: r.id(), Dispatcher: r.job.Dispatcher.Name, Locks: locksOf(r.Spec, r.job)},
		Running:    true, Attempt: r.Job.Attempt, Ran: max(0, time.Since(r.Since)),
		Waited: s.waited(r.job.State()),
	}))
}

// locksOf resolves the locks of an accepted job. A definition that changed since
// may not fit its arguments: it runs without them then.
func locksOf(spec *dispatchers.Spec, job *jobs.Job) []queue.Lock {
	locks, err := spec.Locks(job.State().Arguments)
	if err != nil {
		return nil
	}
	return coreLocks(locks)
}

// requeueRestored puts a job back into its line. One whose definition is not there, or
// is bad, waits for it as long as a job without a queue_timeout of its own does: a
// directory may not be mounted yet, and a package between its removal and its
// installation.
func (s recovery) requeueRestored(job *jobs.Job, started bool) {
	spec := job.Dispatcher.Spec
	if spec == nil {
		spec = s.placeholder(job)
	}
	st := job.State()
	var left time.Duration
	if st.NotBefore > 0 {
		// Not longer than any pause is, should the clock have been set back.
		left = min(max(0, time.Until(time.Unix(0, st.NotBefore))), time.Duration(spec.Retry.MaxBackoff))
	}
	s.inTurn(s.core.Restore(s.now(), queue.Restored{
		Submission: queue.Submission{ID: queue.ID(job.ID()), Dispatcher: job.Dispatcher.Name, Key: joinKey(spec, st.Arguments), Locks: locksOf(spec, job)},
		Waited:     s.waitedOutsidePause(job),
		Attempt:    int(st.Attempt), BackoffLeft: left, Started: started,
	}))
}

// waitedOutsidePause is how long a job has waited, as its queue_timeout counts it: that
// of a paused dispatcher begins to wait when the pause ends.
func (s recovery) waitedOutsidePause(job *jobs.Job) time.Duration {
	if job.Dispatcher.Paused {
		return 0
	}
	return s.waited(job.State())
}

// interrupted deals with a job that ran when the machine, or a daemon whose journal was
// damaged, went down: nothing is left of it.
func (s recovery) interrupted(job *jobs.Job, why string) {
	files := s.attemptFiles(job.ID(), int(job.State().Attempt))
	s.log.Warn("a job of the last daemon was interrupted", "dispatcher", job.Dispatcher.Name, "job", job.ID().String())
	spec := job.Dispatcher.Spec
	if spec != nil && spec.Cache != nil {
		s.runner.Data.Drop(s.runner.Data.Part(spec, filepath.Base(string(files))))
	}
	out := outcomeNow(job, &ipc.JobError{Kind: ipc.KindInterrupted, Message: why})
	out.Output = ipc.Output{Bytes: s.dir.LogSize(job.ID())}
	if spec != nil {
		out.Output.Dropped = max(0, out.Output.Bytes-spec.MaxOutput)
	}
	job.Gate().OnDurable(func() { go files.Remove() })
	if spec == nil || spec.OnInterrupt != mode.Rerun {
		s.end(job, ipc.Interrupted, out)
		return
	}
	out.Epoch = ""
	rec := store.Record{Op: store.OpRequeue, ID: job.ID(), At: out.EndedAt, Attempt: job.State().Attempt, Run: out}
	if _, ok := s.record(rec, s.durability(spec), false, nil); ok {
		s.requeueRestored(job, true)
	}
}

// stopRuns tells every child that does not outlive us to end and waits for
// them, at most as long as the longest kill_grace and a second.
func (h *host) stopRuns() {
	ctx := context.Background()
	var grace time.Duration
	err := h.do(ctx, func(s *state) {
		s.stopping = true
		s.core.Freeze(true)
		for r := range s.attempts() {
			if r.Child() != nil && !r.SurvivesDaemon() {
				grace = max(grace, r.Spec.KillGrace)
				r.logStop(s.log, r.Stop())
			}
		}
	})
	if err != nil {
		return
	}
	h.manager.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (grace + 2*stopGrace).Microseconds()))
	ctx, cancel := context.WithTimeout(ctx, grace+time.Second)
	defer cancel()
	if err := h.until(ctx, (*state).noChildren); errors.Is(err, context.DeadlineExceeded) {
		h.log.Error("stop: some jobs did not end in time")
	}
}

// noChildren reports that every run goes on without this daemon.
func (s *state) noChildren() bool {
	for r := range s.attempts() {
		if !r.SurvivesDaemon() {
			return false
		}
	}
	return true
}
