package daemon

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"time"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// killWait bounds how long a start waits for a killed orphan to be gone.
const killWait = 3 * time.Second

// restore brings the jobs of the journal back into the queue. It runs before
// the loop does, so nothing starts before everything is known.
func (e *engine) restore() {
	var queued, interrupted int
	for _, name := range e.book.Paused() {
		e.core.Hold(e.now(), name, true)
	}
	for _, job := range e.book.Open() {
		if job.State == ipc.Running {
			interrupted++
			e.interrupted(job)
			continue
		}
		queued++
		e.requeueRestored(job, job.Attempt > 0)
	}
	if queued+interrupted > 0 {
		e.log.Info("jobs restored", "queued", queued, "interrupted", interrupted)
	}
}

// requeueRestored puts a job back into its line. One whose dispatcher is gone
// for good ends here: nobody could ever run it.
func (e *engine) requeueRestored(job *store.Job, started bool) {
	c := e.catalog.Load()
	spec := c.Specs[job.Dispatcher]
	if spec == nil {
		if _, bad := c.Disabled[job.Dispatcher]; !bad {
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
	now := time.Now()
	var left time.Duration
	if job.NotBefore > 0 {
		left = max(0, time.Unix(0, job.NotBefore).Sub(now))
	}
	e.core.Restore(e.now(), queue.Restored{
		Submission: queue.Submission{ID: queue.ID(job.ID), Dispatcher: job.Dispatcher, Key: key, Locks: locks},
		Waited:     max(0, now.Sub(time.Unix(0, job.CreatedAt))),
		Attempt:    int(job.Attempt), BackoffLeft: left, Started: started,
	})
}

// interrupted deals with a job that ran when the last daemon went down. Its
// child is no child of ours any more: what is left of it is killed, so that no
// second run can overlap it.
func (e *engine) interrupted(job *store.Job) {
	e.killOrphan(job)
	spec := e.catalog.Load().Specs[job.Dispatcher]
	out := &store.Run{EndedAt: time.Now().UnixNano()}
	if job.Run != nil {
		last := *job.Run
		last.EndedAt, out = out.EndedAt, &last
	}
	size := e.dir.LogSize(job.ID)
	out.Output.Bytes = size
	out.Error = &ipc.JobError{Kind: ipc.KindInterrupted, Message: "the daemon went down while it ran, and its end is not known"}
	if spec == nil || spec.OnInterrupt != "rerun" {
		e.end(job, ipc.Interrupted, out)
		return
	}
	rec := store.Record{Op: store.OpRequeue, ID: job.ID, At: out.EndedAt, Attempt: job.Attempt, Run: out}
	again, err := e.book.Apply(rec)
	if err != nil {
		e.log.Error("book: rerun", "job", job.ID.String(), "error", err)
		return
	}
	e.journal.Append(rec, e.durability(spec), false, func(error) {})
	e.requeueRestored(again, true)
}

// killOrphan kills what is left of a job's child: by the mark written at its
// start, and by its environment where the mark was not written in time.
func (e *engine) killOrphan(job *store.Job) {
	id := job.ID.String()
	ctx, cancel := context.WithTimeout(context.Background(), killWait)
	defer cancel()
	if raw, err := os.ReadFile(e.beganFile(id)); err == nil {
		var who proc.Identity
		if json.Unmarshal(raw, &who) == nil && who.Alive() {
			e.log.Warn("a job of the last daemon still ran and is killed", "dispatcher", job.Dispatcher, "job", id, "pid", who.PID)
			who.KillGroup(ctx, 0)
		}
	}
	for _, pid := range proc.FindByEnv("DISPATCHD_JOB_ID", id) {
		e.log.Warn("a process of an interrupted job is killed", "job", id, "pid", strconv.Itoa(pid))
		proc.IdentityOf(pid).KillGroup(ctx, 0)
	}
	_ = os.Remove(e.beganFile(id))
	_ = os.Remove(e.cfg.Paths.Run + "/jobs/" + id + ".args")
	_ = os.Remove(e.cfg.Paths.Run + "/jobs/" + id + ".notify")
}

// stopRuns tells every running child to end and waits for them, at most as
// long as the longest kill_grace and a second.
func (e *engine) stopRuns() {
	var grace time.Duration
	idle := make(chan struct{})
	err := e.do(context.Background(), func() {
		e.stopping = true
		e.core.Freeze(true)
		for _, r := range e.runs {
			grace = max(grace, time.Duration(r.spec.KillGrace))
			if r.process != nil {
				r.process.Stop()
			}
		}
	})
	if err != nil {
		return
	}
	go e.awaitRuns(idle)
	select {
	case <-idle:
	case <-time.After(grace + time.Second):
		e.log.Error("stop: some jobs did not end in time")
	}
}

// awaitRuns closes idle when no run is active any more. It looks ten times a
// second, in the last seconds of a daemon's life only.
func (e *engine) awaitRuns(idle chan<- struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		left := 1
		if e.do(context.Background(), func() { left = len(e.runs) }) != nil || left == 0 {
			close(idle)
			return
		}
	}
}
