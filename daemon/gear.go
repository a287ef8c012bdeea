package daemon

import (
	"fmt"
	"os"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
)

// gear is what a run needs beside its locks: the launch, the files it names,
// and for a child of our own all that is opened for it.
type gear struct {
	launch proc.Launch
	kit    *proc.Kit // nil for a shim
	err    error     // why there is none
}

// discard gives back what was made for a run that does not come to be.
func (g gear) discard() {
	g.kit.Discard()
	if g.launch.ArgsFile != "" {
		_ = os.Remove(g.launch.ArgsFile)
	}
	if g.launch.DataFile != "" {
		_ = os.Remove(g.launch.DataFile)
	}
}

// gearUp makes the gear of one attempt of a job.
func (e *engine) gearUp(job *store.Job, spec *dispatchers.Spec, attempt int) gear {
	l, err := launchOf(spec, &e.settings)
	if err != nil {
		return gear{err: err}
	}
	l.Marks, l.Boot = e.marks(job.ID, attempt), e.bootID
	l.Job, l.Dispatcher, l.NotifySocket = job.ID.String(), spec.Name, l.Marks.Notify()
	l.OutputFile = e.dir.LogPath(job.ID)
	if spec.Cache != nil {
		l.DataFile, l.MaxData = e.partOf(spec, l.Marks), spec.Cache.MaxSize
	}
	if len(job.Arguments) > 0 {
		l.ArgsFile = l.Marks.Args()
		if err := writeArgs(l.ArgsFile, job.Arguments, l.Credential); err != nil {
			return gear{launch: l, err: fmt.Errorf("arguments file: %w", err)}
		}
	}
	l.Env = append(l.Env, jobEnv(job, attempt, l.ArgsFile, e.cfg.Paths.Socket())...)
	g := gear{launch: l}
	if !l.NeedsShim() && (e.cfg.Shim == nil || !spec.SurviveRestart) {
		g.kit, g.err = proc.Prepare(l)
		return g
	}
	out, err := e.dir.NewLog(job.ID) // a full disk is told by us, who can put the start off
	if err != nil {
		g.err = fmt.Errorf("output file: %w", err)
		return g
	}
	_ = out.Close()
	return g
}
