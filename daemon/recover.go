package daemon

import (
	"context"
	"fmt"
	"os"
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
func (e *engine) restore(suspects []ulid.ULID) {
	doubtful := e.resolve(suspects)
	var queued, adopted, interrupted int
	for _, name := range e.book.Paused() {
		e.core.Pause(e.now(), name, true)
	}
	e.lastID = e.book.LastID() // a clock that was set back must not reorder jobs
	removeAll(e.staleMarks())  // before anything ends: the book is the journal now
	for _, job := range e.book.Open() {
		switch {
		case doubtful[job.ID]:
			interrupted++
			e.interrupted(job, "the journal was damaged where it may say that it started, and its end is not known")
		case job.State == ipc.Queued:
			queued++
			e.requeueRestored(job, job.Attempt > 0)
		case e.adopt(job):
			adopted++
		default:
			interrupted++
			e.interrupted(job, "the daemon went down while it ran, and its end is not known")
		}
	}
	proc.SweepCgroups()
	if queued+adopted+interrupted > 0 {
		e.log.Info("jobs restored", "queued", queued, "running_or_ended_meanwhile", adopted, "interrupted", interrupted)
	}
}

// resolve finds out what became of queued jobs whose start may be among what a
// damaged journal lost. Where there are marks, the start is noted anew, and the
// run is taken over as any other. It gives those that left no trace: they may
// have run and ended, and are not run twice.
func (e *engine) resolve(suspects []ulid.ULID) map[ulid.ULID]bool {
	doubtful := map[ulid.ULID]bool{}
	for _, id := range suspects {
		job, ok := e.book.Job(id)
		if !ok {
			continue
		}
		spec := e.specOf(job.Dispatcher)
		rec := store.Record{Op: store.OpStart, ID: id, At: time.Now().UnixNano(), Attempt: job.Attempt + 1, Epoch: e.epochID}
		switch {
		case e.marks(id, int(rec.Attempt)).Started():
			if _, err := e.book.Apply(rec); err != nil {
				e.log.Error("book: start found by its marks", "job", id.String(), "error", err)
				continue
			}
			e.journal.Append(rec, e.durability(spec), true, func(error) {})
		case spec == nil || spec.OnInterrupt != mode.Rerun:
			doubtful[id] = true
		}
	}
	return doubtful
}

// adopt takes over a run of the last daemon that has, or had, a shim, or that
// was never started. False: it was a direct child, or its marks are gone.
func (e *engine) adopt(job *store.Job) bool {
	if job.Run == nil || job.Run.Epoch != e.epochID {
		return false
	}
	spec := e.specOf(job.Dispatcher)
	if spec == nil {
		spec = &dispatchers.Spec{
			Name: job.Dispatcher, Concurrency: 1, OnInterrupt: mode.Fail, SurviveRestart: true, SuccessExitCodes: []int{0},
			MaxOutput: dispatchers.DefaultMaxOutput,
		}
		if _, bad := e.catalog.Load().Broken(job.Dispatcher); bad {
			e.placeholder(job.Dispatcher)
		}
		e.gone[job.Dispatcher] = spec
	}
	r := &run{
		id: queue.ID(job.ID), job: job, spec: spec, attempt: int(job.Attempt), since: time.Unix(0, job.Run.StartedAt),
		marks: e.marks(job.ID, int(job.Attempt)),
	}
	if e.resume(r) {
		return true
	}
	remote, found := proc.Adopt(r.marks, job.ID.String(), func(u proc.Update) { e.post(func() { e.progressed(r, u) }) })
	if !found && r.marks.Started() {
		return false
	}
	e.occupy(r)
	if !found { // the last daemon went down before it started anything
		go e.post(func() { e.attemptEnded(r, proc.Exit{NotStarted: true}) })
		return true
	}
	r.process = remote
	if !spec.SurviveRestart { // it was to die with its daemon
		remote.Stop()
	}
	go e.follow(r, remote)
	return true
}

// occupy tells the queue of a run that goes on.
func (e *engine) occupy(r *run) {
	e.runs[r.id] = r
	var locks []queue.Lock
	if wanted, err := r.spec.Locks(r.job.Arguments); err == nil {
		locks = coreLocks(wanted)
	}
	r.answered = true
	e.inTurn(e.core.Restore(e.now(), queue.Restored{
		Submission: queue.Submission{ID: r.id, Dispatcher: r.job.Dispatcher, Locks: locks},
		Running:    true, Attempt: r.attempt, Ran: max(0, time.Since(r.since)),
		Waited: e.waited(r.job),
	}))
}

// requeueRestored puts a job back into its line. One whose dispatcher is gone
// for good ends here: nobody could ever run it.
func (e *engine) requeueRestored(job *store.Job, started bool) {
	c := e.catalog.Load()
	spec := c.Specs[job.Dispatcher]
	if spec == nil {
		if _, bad := c.Broken(job.Dispatcher); !bad {
			out := &store.Run{EndedAt: time.Now().UnixNano(), Error: &ipc.JobError{
				Kind: ipc.KindDispatcherUnknown, Message: "its definition was gone when the daemon started",
			}}
			e.end(job, ipc.Failed, out)
			return
		}
		spec = e.placeholder(job.Dispatcher)
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
	e.inTurn(e.core.Restore(e.now(), queue.Restored{
		Submission: queue.Submission{ID: queue.ID(job.ID), Dispatcher: job.Dispatcher, Key: key, Locks: locks},
		Waited:     e.waited(job),
		Attempt:    int(job.Attempt), BackoffLeft: left, Started: started,
	}))
}

// interrupted deals with a job that ran when the last daemon went down. Its
// child is no child of ours any more: what is left of it is killed, so that no
// second run can overlap it.
func (e *engine) interrupted(job *store.Job, why string) {
	marks := e.marks(job.ID, int(job.Attempt))
	forget := func(err error) {
		if err == nil {
			marks.Remove()
		}
	}
	e.log.Warn("a job of the last daemon was interrupted", "dispatcher", job.Dispatcher, "job", job.ID.String())
	marks.KillRemaining(job.ID.String())
	spec := e.catalog.Load().Specs[job.Dispatcher]
	if spec != nil && spec.Cache != nil {
		_ = os.Remove(e.partOf(spec, marks))
	}
	out := &store.Run{EndedAt: time.Now().UnixNano()}
	if job.Run != nil {
		last := *job.Run
		last.EndedAt, out = out.EndedAt, &last
	}
	size := e.dir.LogSize(job.ID)
	out.Output.Bytes = size
	out.Error = &ipc.JobError{Kind: ipc.KindInterrupted, Message: why}
	if spec == nil || spec.OnInterrupt != mode.Rerun {
		e.endThen(job, ipc.Interrupted, out, forget)
		return
	}
	out.Epoch = ""
	rec := store.Record{Op: store.OpRequeue, ID: job.ID, At: out.EndedAt, Attempt: job.Attempt, Run: out}
	again, err := e.book.Apply(rec)
	if err != nil {
		e.log.Error("book: rerun", "job", job.ID.String(), "error", err)
		return
	}
	e.journal.Append(rec, e.durability(spec), false, forget)
	e.requeueRestored(again, true)
}

// stopRuns tells every child that does not outlive us to end and waits for
// them, at most as long as the longest kill_grace and a second.
func (e *engine) stopRuns() {
	ctx := context.Background()
	var grace time.Duration
	err := e.do(ctx, func() {
		e.stopping = true
		e.core.Freeze(true)
		for _, r := range e.runs {
			if r.process != nil && !r.outlives() {
				grace = max(grace, time.Duration(r.spec.KillGrace))
				r.process.Stop()
			}
		}
	})
	if err != nil {
		return
	}
	e.tellManager(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (grace + 2*stopGrace).Microseconds()))
	alone, err := e.until(ctx, e.childless)
	if err != nil {
		return
	}
	select {
	case <-alone:
	case <-time.After(grace + time.Second):
		e.log.Error("stop: some jobs did not end in time")
	}
}

// childless reports that every run goes on without this daemon.
func (e *engine) childless() bool {
	for _, r := range e.runs {
		if !r.outlives() {
			return false
		}
	}
	return true
}
