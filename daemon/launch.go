package daemon

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"dispatchd/daemon/internal/output"
	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
	"dispatchd/ipc/lockfile"
)

// trimEvery is how often a running job's output is held against max_output.
const trimEvery = 250 * time.Millisecond

// launch runs one attempt to its end, in a goroutine of its own, and reports
// the end to the loop. Nothing starts before the start is recorded.
func (h *host) launch(r *run) {
	g := h.gearUp(r.job, r.spec, r.attempt)
	if g.err == nil {
		g.err = h.build.Check(context.Background(), r.spec)
	}
	if broken := <-r.recorded; broken != nil {
		g.discard()
		h.post(func(s *state) { s.unstart(r) })
		return
	}
	var p process
	err := g.err
	if err == nil {
		p, err = h.starter(r, g)
	}
	if err != nil {
		g.discard()
	}
	if proc.IsTransient(err) {
		r.marks.Remove()
		h.post(func(s *state) { s.putOff(r, err) })
		return
	}
	if err != nil {
		now := time.Now()
		h.post(func(s *state) {
			s.begun(r)
			s.attemptEnded(r, proc.Exit{Err: err, Started: now, Ended: now})
		})
		return
	}
	h.post(func(s *state) { s.spawned(r, p) })
	h.follow(r, p)
}

// follow waits for the end of a run, and reports it. A job under a shim goes on
// when the daemon stops.
func (h *host) follow(r *run, p process) {
	var trim <-chan time.Time
	remote, shimmed := p.(*proc.Remote)
	if !shimmed { // a shim bounds its job's output itself
		tick := time.NewTicker(trimEvery)
		defer tick.Stop()
		trim = tick.C
	}
	for {
		select {
		case <-p.Done():
			exit := h.keepData(r, p.Exit())
			h.post(func(s *state) { s.attemptEnded(r, exit) })
			return
		case <-trim:
			_ = h.dir.TrimLog(r.job.ID, h.dir.LogSize(r.job.ID), r.spec.MaxOutput)
			if r.spec.Cache != nil {
				output.Cut(h.partOf(r.spec, r.marks), r.spec.Cache.MaxSize)
			}
		case <-h.loop.Stopping():
			if shimmed {
				remote.Leave()
			}
			return
		}
	}
}

// spawned notes that the child exists; a cancel may have come before it did.
func (s *state) spawned(r *run, p process) {
	r.process = p
	if _, shimmed := p.(*proc.Remote); shimmed {
		r.handOver()
	}
	if r.canceled || s.stopping && !r.outlives() {
		p.Stop()
	}
	s.begun(r)
}

// outlives reports whether a run goes on without the daemon.
func (r *run) outlives() bool {
	_, shimmed := r.process.(*proc.Remote)
	return shimmed && (r.spec.SurviveRestart || r.spec.KillMode.Never())
}

// startProcess starts a child of our own, or a shim with one where the job is
// to outlive the daemon or can hide from it.
func (h *host) startProcess(r *run, g gear) (process, error) {
	update := func(u proc.Update) { h.post(func(s *state) { s.progressed(r, u) }) }
	l := g.launch
	if g.kit != nil {
		p, err := proc.StartMarked(g.kit, update)
		if err != nil {
			return nil, err // not p: a nil *Process is no nil process
		}
		return p, nil
	}
	if h.cfg.Shim == nil {
		return nil, errors.New(`kill_mode "tree" and leftovers "kill" need a shim, and this program has none`)
	}
	var locks []*os.File
	for _, l := range r.locks {
		locks = append(locks, l.file)
	}
	p, err := proc.StartShim(h.cfg.Shim, l, locks, update)
	if err != nil {
		return nil, err
	}
	for _, held := range r.locks {
		if !held.shared {
			lockfile.Describe(held.file, lockfile.Holder{Job: l.Job, PID: p.PID()})
		}
	}
	return p, nil
}

// progressed keeps a running job's last word about itself.
func (s *state) progressed(r *run, u proc.Update) {
	if u.Percent != nil || u.Message != "" {
		r.progress = &ipc.Progress{Percent: u.Percent, Message: u.Message}
	}
	if u.Late && !r.late {
		r.late = true
		s.log.Warn("job runs longer than its timeout, and its kill_mode lets it", "dispatcher", r.spec.Name, "job", r.job.ID.String(), "timeout", time.Duration(r.spec.Timeout))
	}
}

// attemptEnded frees the locks and lets the queue decide what follows.
func (s *state) attemptEnded(r *run, exit proc.Exit) {
	if s.runs[r.id] != r {
		return
	}
	r.release()
	if exit.NotStarted && !r.canceled && proc.IsTransient(exit.Err) {
		r.marks.Remove()
		s.putOff(r, exit.Err)
		return
	}
	if exit.NotStarted && exit.Err == nil && !r.canceled {
		r.unborn = true
		s.decide(s.core.Rerun(s.now(), r.id, false))
		return
	}
	r.state, r.outcome = s.judge(r, exit)
	rerun := r.spec.OnInterrupt == mode.Rerun && !r.canceled
	switch {
	case rerun && exit.SupervisorLost:
		s.decide(s.core.Rerun(s.now(), r.id, true))
	case rerun && s.stopping && r.state != ipc.Succeeded:
		s.leaveForRerun(r)
	default:
		s.decide(s.core.Ended(s.now(), r.id, s.retryable(r, exit)))
	}
}

// retryable reports whether retry may try an attempt again.
func (s *state) retryable(r *run, exit proc.Exit) bool {
	if r.canceled || s.stopping || (r.state != ipc.Failed && r.state != ipc.TimedOut) {
		return false
	}
	if len(r.spec.Retry.ExitCodes) > 0 && r.state == ipc.Failed {
		return exit.Err == nil && slices.Contains(r.spec.Retry.ExitCodes, exit.Code)
	}
	return true
}

// leaveForRerun puts a job that the stop interrupted back into the queue of
// the next daemon.
func (s *state) leaveForRerun(r *run) {
	delete(s.runs, r.id)
	rec := store.Record{Op: store.OpRequeue, ID: r.job.ID, At: time.Now().UnixNano(), Attempt: int32(r.attempt), Run: r.outcome}
	if _, err := s.book.Apply(rec); err == nil {
		s.journal.Append(rec, s.durability(r.spec), true, s.forgetMarks(r))
	}
}
