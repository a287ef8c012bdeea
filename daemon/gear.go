package daemon

import (
	"fmt"

	"dispatchd/daemon/internal/launch"
	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
)

// gear is what a run needs beside its locks: the launch, the files it names,
// and for a child of our own all that is opened for it.
type gear struct {
	launch proc.Launch
	kit    *proc.Prepared // nil for a shim
	err    error          // why there is none
}

// discard gives back what was made for a run that does not come to be.
func (g gear) discard() {
	g.kit.Discard()
	launch.RemoveFiles(g.launch)
}

// launchJob is what a launch needs to know of an attempt of a job.
func launchJob(job *store.Job, attempt int) launch.Job {
	return launch.Job{ID: job.ID.String(), Dispatcher: job.Dispatcher, Attempt: attempt, Origin: job.Origin, Arguments: job.Arguments}
}

// gearUp makes the gear of one attempt of a job.
func (h *host) gearUp(job *store.Job, spec *dispatchers.Spec, attempt int) gear {
	marks := h.marks(job.ID, attempt)
	l, err := h.build.Build(spec, launchJob(job, attempt), marks, launch.Outputs{Log: h.dir.LogPath(job.ID), Data: h.partOf(spec, marks)})
	if err != nil {
		return gear{err: err}
	}
	if err := launch.WriteArguments(l, job.Arguments); err != nil {
		return gear{launch: l, err: err}
	}
	g := gear{launch: l}
	if !l.NeedsShim() && (h.cfg.Shim == nil || !spec.SurviveRestart) {
		g.kit, g.err = proc.Prepare(l)
		return g
	}
	out, err := h.dir.NewLog(job.ID) // a full disk is told by us, who can put the start off
	if err != nil {
		g.err = fmt.Errorf("output file: %w", err)
		return g
	}
	_ = out.Close()
	return g
}
