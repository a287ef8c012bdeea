package daemon

import (
	"fmt"
	"os"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/queue"
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
	l.Marks, l.Boot, l.Clock = e.marks(job.ID, attempt), e.bootID, &e.starts
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

// ahead is the gear of a dispatcher's next run, made while the present one is
// under way: between two short jobs it is what takes longest. The goroutine that
// makes it is the one that launches the run.
type ahead struct {
	id      queue.ID
	attempt int
	spec    *dispatchers.Spec
	gear    gear
	run     chan *run     // gets once whom it is for, nil = nobody
	over    chan struct{} // closed when it was given back, or the run has ended
}

// fits reports whether it was made for that attempt, by that definition. nil is
// for none.
func (a *ahead) fits(id queue.ID, attempt int, spec *dispatchers.Spec) bool {
	return a != nil && a.id == id && a.attempt == attempt && a.spec == spec
}

// lookAhead has the gear of a dispatcher's next run made, if one is queued.
func (e *engine) lookAhead(spec *dispatchers.Spec) {
	id, attempt, ok := e.core.Head(spec.Name)
	if !ok || e.stopping || e.leaving || e.journalErr != nil {
		return
	}
	old := e.aheads[spec.Name]
	if old.fits(id, attempt, spec) {
		return
	}
	job, ok := e.book.Job([16]byte(id))
	if !ok {
		return
	}
	a := &ahead{id: id, attempt: attempt, spec: spec, run: make(chan *run, 1), over: make(chan struct{})}
	e.aheads[spec.Name] = a
	go func() {
		defer close(a.over)
		old.discard()
		a.gear = e.gearUp(job, spec, attempt)
		if r := <-a.run; r != nil {
			e.launch(r, a.gear)
		} else {
			a.gear.discard()
		}
	}()
}

// takeAhead gives what was made ahead for a dispatcher, nil = nothing.
func (e *engine) takeAhead(name string) *ahead {
	a := e.aheads[name]
	delete(e.aheads, name)
	return a
}

// discard waits for what was made ahead, and gives it back. Only then may gear
// of the same attempt be made: its files have the same names. nil is nothing.
func (a *ahead) discard() {
	if a != nil {
		a.run <- nil
		<-a.over
	}
}

// dropAhead gives back what was made ahead for a dispatcher.
func (e *engine) dropAhead(name string) {
	if a := e.takeAhead(name); a != nil {
		go a.discard()
	}
}
