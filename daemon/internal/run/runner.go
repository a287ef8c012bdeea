package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"dispatchd/daemon/internal/launch"
	"dispatchd/daemon/internal/output"
	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/shim"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// trimEvery is how often the output of a direct child that prints to a file of its
// own is held against its bound: one that an image of the release before has started.
const trimEvery = 250 * time.Millisecond

// Runner runs attempts. It does not change once it is in use, and any number of
// attempts may run at a time.
type Runner struct {
	Build *launch.Builder
	Locks LockDirs
	Logs  *store.Dir // nil = the child prints to our own outputs
	Data  Keeper     // nil = nobody keeps a cache's data
	Start Starter
	Log   *slog.Logger

	// Keepers are the argv of programs that can keep the output of what a direct child
	// left running, in the order in which they are tried. Without one this process does,
	// and ends it when it ends itself.
	Keepers [][]string
}

// Keeper keeps the data of caches.
type Keeper interface {
	// Part is the file that an attempt to refresh a cache writes to.
	Part(s *dispatchers.Spec, attempt string) string
	// Keep puts what an attempt that began then has written in the cache's place,
	// or says what is wrong with it. The part is gone afterwards.
	Keep(s *dispatchers.Spec, part string, began time.Time) error
	// Drop removes the part of an attempt that has not succeeded.
	Drop(part string)
}

// Events are told what becomes of attempts, on the attempt's goroutine. The
// daemon's post to its loop, those of dispatchd run keep what they are told.
type Events interface {
	// Started tells that the child exists.
	Started(*Attempt, Child)
	// Progressed tells what the child says of itself, on a goroutine of its own.
	Progressed(*Attempt, proc.Update)
	// NotStarted tells that there is no child, and that the job is not at fault:
	// the start could not be recorded (errors.Is ErrNotRecorded), the system was short
	// of something, or something of ours was in the way (proc.IsTransient). It may be
	// tried again.
	NotStarted(*Attempt, error)
	// Ended tells how the attempt ended, also where it could not be started.
	Ended(*Attempt, Result)
}

// ErrNotRecorded is the reason of an attempt that was not started because the
// journal could not take its start.
var ErrNotRecorded = errors.New("the start could not be recorded")

// Run runs an attempt to its end, and returns then or when ctx is done. recorded
// gives, once, whether the start is durable, nil = it is; before that nothing is
// started. The preparation and the journal's sync overlap.
func (r *Runner) Run(ctx context.Context, a *Attempt, recorded <-chan error, ev Events) {
	l, err := r.prepare(ctx, a)
	if broken := <-recorded; broken != nil {
		discard(a.Spare)
		r.undo(a, l)
		ev.NotStarted(a, fmt.Errorf("%w: %w", ErrNotRecorded, broken))
		return
	}
	c, err := r.start(a, l, err, ev)
	switch {
	case proc.IsTransient(err):
		r.undo(a, l)
		a.Files.Unstart()
		ev.NotStarted(a, err)
		return
	case err != nil:
		r.undo(a, l)
		now := time.Now()
		ev.Ended(a, r.result(a, proc.Exit{Err: err, Code: proc.StartCode(err), Started: now, Ended: now}))
		return
	}
	if c.Supervised() {
		a.locks.leave()
	}
	ev.Started(a, c)
	r.follow(ctx, a, c, ev)
}

// start starts the child, unless its preparation went wrong. It uses the spare up.
func (r *Runner) start(a *Attempt, l proc.Launch, broken error, ev Events) (Child, error) {
	if broken != nil {
		discard(a.Spare)
		return nil, broken
	}
	return r.Start(Request{
		Launch: l, Locks: a.locks, Survive: a.Spec.SurviveRestart, Spare: a.Spare,
		Update: func(u proc.Update) { ev.Progressed(a, u) },
	})
}

// discard ends a spare supervisor; nil is none.
func discard(s Spare) {
	if s != nil {
		s.Discard()
	}
}

// prepare resolves what is executed and makes the files that it names. The
// packages are asked for without ctx: an answer that a stop cut off would read as
// "not installed" and fail the job.
func (r *Runner) prepare(ctx context.Context, a *Attempt) (proc.Launch, error) {
	l, err := r.Build.Build(a.Spec, a.Job, a.Files, r.outputs(a))
	if err != nil {
		return proc.Launch{}, err
	}
	l.Marked = a.Marked
	if err := launch.WriteArguments(l, a.Job.Arguments); err != nil {
		return l, proc.Own(err)
	}
	if r.Logs != nil {
		// An operation is not lost for its log's sake. Where there is no room it is put
		// off; where no file can be made for another reason, what is printed is counted
		// as lost, until one can.
		switch f, err := r.Logs.NewLog(a.ID); {
		case err == nil:
			_ = f.Close()
		case proc.IsFull(err):
			return l, proc.Own(fmt.Errorf("output file: %w", err))
		default:
			r.Log.Warn("a job's log cannot be written now; its output is lost until it can", "job", a.Job.ID, "error", err)
		}
	}
	return l, r.Build.Check(context.WithoutCancel(ctx), a.Spec)
}

// outputs are the files that an attempt's child prints to.
func (r *Runner) outputs(a *Attempt) launch.Outputs {
	out := launch.Outputs{Data: r.part(a)}
	if r.Logs != nil {
		out.Log = r.Logs.LogPath(a.ID)
	}
	return out
}

// part is where an attempt writes its cache's data to, "" = there is none.
func (r *Runner) part(a *Attempt) string {
	if a.Spec.Cache == nil || r.Data == nil {
		return ""
	}
	return r.Data.Part(a.Spec, filepath.Base(string(a.Files)))
}

// undo gives back what was made for a child that does not come to be.
func (r *Runner) undo(a *Attempt, l proc.Launch) {
	launch.RemoveFiles(l)
	a.locks.Release()
}

// Adopt takes over an attempt that an earlier daemon of this boot started, or was
// about to start. Its end is told as of any, also where it is not known, or where it
// never began (Result.NeverBegan). The child, or who stands for it, is attached when
// Adopt returns. Owner only.
func (r *Runner) Adopt(ctx context.Context, a *Attempt, ev Events) {
	since := a.Since
	if a.Spec.KillMode.Never() { // what is not recorded is not looked for: it would be killed
		since = time.Time{}
	}
	c := supervised{shim.Adopt(a.Files, a.Job.ID, since, func(u proc.Update) { ev.Progressed(a, u) })}
	a.child = c
	if !a.Spec.SurviveRestart { // it was to die with its daemon
		if err := c.Stop(); err != nil {
			r.Log.Warn("a job of the last daemon cannot be stopped", "job", a.Job.ID, "error", err)
		}
	}
	go r.follow(ctx, a, c, ev)
}

// Resume goes on with a direct child and its locks that the last image of this
// program has handed over. Owner only.
func (r *Runner) Resume(ctx context.Context, a *Attempt, h proc.Inherited, locks *Locks, ev Events) error {
	p, err := proc.Resume(h, func(u proc.Update) { ev.Progressed(a, u) })
	if err != nil {
		return err
	}
	a.locks, a.child = locks, direct{p}
	u := proc.Update{Percent: h.Percent, Message: h.Message, Late: h.TimedOut}
	if h.Left > 0 {
		u.Deadline = time.Now().Add(h.Left)
	}
	a.Note(u)
	go r.follow(ctx, a, a.child, ev)
	return nil
}

// follow waits for the end of a child and tells it, or leaves the child when ctx is
// done.
func (r *Runner) follow(ctx context.Context, a *Attempt, c Child, ev Events) {
	var look <-chan time.Time // nil = its supervisor bounds its output, or nobody does
	if k, ok := c.(interface{ KeepsOutput() bool }); !c.Supervised() && r.Logs != nil && (!ok || !k.KeepsOutput()) {
		ticker := time.NewTicker(trimEvery)
		defer ticker.Stop()
		look = ticker.C
	}
	log, part := output.File{Max: a.Spec.MaxOutput}, r.part(a)
	if r.Logs != nil {
		log.Path = r.Logs.LogPath(a.ID)
	}
	for {
		select {
		case <-c.Done():
			r.ended(a, c, ev)
			return
		case <-look:
			// What cannot be given back now is tried again, and the end counts it.
			_, _ = log.Enforce()
			if part != "" {
				output.Cut(part, a.Spec.Cache.MaxSize)
			}
		case <-ctx.Done():
			c.Leave()
			return
		}
	}
}

// ended deals with the end of a child: data first, then locks, then the word.
func (r *Runner) ended(a *Attempt, c Child, ev Events) {
	defer r.keepLeft(a, c)
	x := r.keepData(a, c.Exit())
	a.locks.Release()
	var spare Spare
	if s, ok := c.(interface{ Spare() Spare }); ok {
		spare = s.Spare()
	}
	if x.NotStarted && proc.IsTransient(x.Err) { // its supervisor was killed before it began, or lacked something
		discard(spare)
		a.Files.Unstart()
		ev.NotStarted(a, x.Err)
		return
	}
	res := r.result(a, x)
	res.Spare = spare
	ev.Ended(a, res)
}

// keepLeft has the output of what a direct child left running kept, by a process that
// outlives this one.
func (r *Runner) keepLeft(a *Attempt, c Child) {
	p, ok := c.(direct)
	if !ok {
		return // its supervisor does
	}
	p.KeepLeft(r.keeperFor(a))
}

// keeperFor gives what hands an attempt's output to a process of its own, nil = this
// program has none.
func (r *Runner) keeperFor(a *Attempt) func(*output.Keeper) error {
	if len(r.Keepers) == 0 {
		return nil
	}
	return func(k *output.Keeper) error {
		var err error
		for _, program := range r.Keepers {
			if err = shim.Keep(program, a.Job.Dispatcher, a.Job.ID, k); err == nil {
				return nil
			}
		}
		r.Log.Warn("the output of a job is kept by the daemon itself, and ends with it", "job", a.Job.ID, "error", err)
		return errNoKeeper
	}
}

// errNoKeeper says that no process took an output over. The cause is logged.
var errNoKeeper = errors.New("no process takes the output over")

// Detach takes a direct child and its locks out of the hands of the attempt's
// goroutine, for the next image of this program. Where that one does not take output,
// a process of its own keeps it. False: the child is supervised, or has ended, and then
// its end is told as always. Owner only.
func (r *Runner) Detach(a *Attempt, takesOutput bool) (proc.Inherited, []*os.File, *Locks, bool) {
	if takesOutput {
		return a.detach(nil)
	}
	return a.detach(r.keeperFor(a))
}

// keepData puts what a successful attempt printed in its cache's place. One whose
// output is no data has failed.
func (r *Runner) keepData(a *Attempt, x proc.Exit) proc.Exit {
	part := r.part(a)
	switch {
	case part == "":
	case succeeded(a.Spec, x) && x.Output != nil && x.Output.Data != "":
		x.Err = ipc.Errorf(ipc.KindInternal, "its data could not be written: %s", x.Output.Data)
		r.Data.Drop(part)
	case succeeded(a.Spec, x):
		x.Err = r.Data.Keep(a.Spec, part, x.Started)
	default:
		r.Data.Drop(part)
	}
	return x
}
