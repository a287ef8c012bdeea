package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// restore brings the jobs of the journal back into the queue. It runs before
// the loop does, so nothing starts before everything is known.
func (s *state) restore(suspects []ulid.ULID) {
	doubtful := s.resolve(suspects)
	var queued, adopted, interrupted int
	for _, name := range s.book.Paused() {
		s.core.Pause(s.now(), name, true)
	}
	s.lastID = s.book.LastID() // a clock that was set back must not reorder jobs
	removeAll(s.staleMarks())  // before anything ends: the book is the journal now
	for _, job := range s.book.Open() {
		switch {
		case doubtful[job.ID]:
			interrupted++
			s.interrupted(job, "the journal was damaged where it may say that it started, and its end is not known")
		case job.State == ipc.Queued:
			queued++
			s.requeueRestored(job, job.Attempt > 0)
		case s.adopt(job):
			adopted++
		default:
			interrupted++
			s.interrupted(job, "the daemon went down while it ran, and its end is not known")
		}
	}
	proc.SweepTrees()
	if queued+adopted+interrupted > 0 {
		s.log.Info("jobs restored", "queued", queued, "running_or_ended_meanwhile", adopted, "interrupted", interrupted)
	}
}

// resolve finds out what became of queued jobs whose start may be among what a
// damaged journal lost. Where there are marks, the start is noted anew, and the
// run is taken over as any other. It gives those that left no trace: they may
// have run and ended, and are not run twice.
func (s *state) resolve(suspects []ulid.ULID) map[ulid.ULID]bool {
	doubtful := map[ulid.ULID]bool{}
	for _, id := range suspects {
		job, ok := s.book.Job(id)
		if !ok {
			continue
		}
		spec := s.specOf(job.Dispatcher)
		rec := store.Record{Op: store.OpStart, ID: id, At: time.Now().UnixNano(), Attempt: job.Attempt + 1, Epoch: s.epochID}
		switch {
		case s.marks(id, int(rec.Attempt)).Started():
			if _, err := s.book.Apply(rec); err != nil {
				s.log.Error("book: start found by its marks", "job", id.String(), "error", err)
				continue
			}
			s.journal.Append(rec, s.durability(spec), true, func(error) {})
		case spec == nil || spec.OnInterrupt != mode.Rerun:
			doubtful[id] = true
		}
	}
	return doubtful
}

// adopt takes over a run of the last daemon that has, or had, a shim, or that
// was never started. False: it was a direct child, or its marks are gone.
func (s *state) adopt(job *store.Job) bool {
	if job.Run == nil || job.Run.Epoch != s.epochID {
		return false
	}
	spec := s.specOf(job.Dispatcher)
	if spec == nil {
		spec = &dispatchers.Spec{
			Name: job.Dispatcher, Concurrency: 1, OnInterrupt: mode.Fail, SurviveRestart: true, SuccessExitCodes: []int{0},
			MaxOutput: dispatchers.DefaultMaxOutput,
		}
		if _, bad := s.catalog.Load().Broken(job.Dispatcher); bad {
			s.placeholder(job.Dispatcher)
		}
		s.gone[job.Dispatcher] = spec
	}
	r := s.newAttempt(job, int(job.Attempt), spec, time.Unix(0, job.Run.StartedAt), nil)
	if !s.resume(r) && !s.runner.Adopt(s.following, r.Attempt, events{s.host}) {
		return false
	}
	s.occupy(r)
	return true
}

// occupy tells the queue of a run that goes on.
func (s *state) occupy(r *attempt) {
	s.runs[r.id] = r
	var locks []queue.Lock
	if wanted, err := r.Spec.Locks(r.job.Arguments); err == nil {
		locks = coreLocks(wanted)
	}
	r.answered = true
	s.inTurn(s.core.Restore(s.now(), queue.Restored{
		Submission: queue.Submission{ID: r.id, Dispatcher: r.job.Dispatcher, Locks: locks},
		Running:    true, Attempt: r.Job.Attempt, Ran: max(0, time.Since(r.Since)),
		Waited: s.waited(r.job),
	}))
}

// requeueRestored puts a job back into its line. One whose dispatcher is gone
// for good ends here: nobody could ever run it.
func (s *state) requeueRestored(job *store.Job, started bool) {
	c := s.catalog.Load()
	spec := c.Specs[job.Dispatcher]
	if spec == nil {
		if _, bad := c.Broken(job.Dispatcher); !bad {
			out := &store.Outcome{EndedAt: time.Now().UnixNano(), Error: &ipc.JobError{
				Kind: ipc.KindDispatcherUnknown, Message: "its definition was gone when the daemon started",
			}}
			s.end(job, ipc.Failed, out)
			return
		}
		spec = s.placeholder(job.Dispatcher)
	}
	var locks []queue.Lock
	if found, err := spec.Locks(job.Arguments); err == nil {
		locks = coreLocks(found)
	}
	key := ""
	if spec.Coalesce || spec.Debounce > 0 {
		key = spec.ArgKey(job.Arguments)
	}
	var left time.Duration
	if job.NotBefore > 0 {
		// Not longer than any pause is, should the clock have been set back.
		left = min(max(0, time.Until(time.Unix(0, job.NotBefore))), time.Duration(spec.Retry.MaxBackoff))
	}
	s.inTurn(s.core.Restore(s.now(), queue.Restored{
		Submission: queue.Submission{ID: queue.ID(job.ID), Dispatcher: job.Dispatcher, Key: key, Locks: locks},
		Waited:     s.waited(job),
		Attempt:    int(job.Attempt), BackoffLeft: left, Started: started,
	}))
}

// interrupted deals with a job that ran when the last daemon went down. Its
// child is no child of ours any more: what is left of it is killed, so that no
// second run can overlap it.
func (s *state) interrupted(job *store.Job, why string) {
	marks := s.marks(job.ID, int(job.Attempt))
	forget := func(err error) {
		if err == nil {
			marks.Remove()
		}
	}
	s.log.Warn("a job of the last daemon was interrupted", "dispatcher", job.Dispatcher, "job", job.ID.String())
	marks.KillRemaining(job.ID.String())
	spec := s.catalog.Load().Specs[job.Dispatcher]
	if spec != nil && spec.Cache != nil {
		s.runner.Data.Drop(s.runner.Data.Part(spec, filepath.Base(string(marks))))
	}
	out := &store.Outcome{EndedAt: time.Now().UnixNano()}
	if job.Run != nil {
		last := *job.Run
		last.EndedAt, out = out.EndedAt, &last
	}
	size := s.dir.LogSize(job.ID)
	out.Output.Bytes = size
	out.Error = &ipc.JobError{Kind: ipc.KindInterrupted, Message: why}
	if spec == nil || spec.OnInterrupt != mode.Rerun {
		s.endThen(job, ipc.Interrupted, out, forget)
		return
	}
	out.Epoch = ""
	rec := store.Record{Op: store.OpRequeue, ID: job.ID, At: out.EndedAt, Attempt: job.Attempt, Run: out}
	again, err := s.book.Apply(rec)
	if err != nil {
		s.log.Error("book: rerun", "job", job.ID.String(), "error", err)
		return
	}
	s.journal.Append(rec, s.durability(spec), false, forget)
	s.requeueRestored(again, true)
}

// stopRuns tells every child that does not outlive us to end and waits for
// them, at most as long as the longest kill_grace and a second.
func (d *Daemon) stopRuns() {
	ctx := context.Background()
	var grace time.Duration
	err := d.do(ctx, func(s *state) {
		s.stopping = true
		s.core.Freeze(true)
		for _, r := range s.runs {
			if r.Child() != nil && !r.SurvivesDaemon() {
				grace = max(grace, r.Spec.KillGrace)
				s.logStop(r, r.Stop())
			}
		}
	})
	if err != nil {
		return
	}
	d.manager.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (grace + 2*stopGrace).Microseconds()))
	ctx, cancel := context.WithTimeout(ctx, grace+time.Second)
	defer cancel()
	if err := d.until(ctx, (*state).noChildren); errors.Is(err, context.DeadlineExceeded) {
		d.log.Error("stop: some jobs did not end in time")
	}
}

// noChildren reports that every run goes on without this daemon.
func (s *state) noChildren() bool {
	for _, r := range s.runs {
		if !r.SurvivesDaemon() {
			return false
		}
	}
	return true
}
