package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/run"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/lockfile"
)

// RunForeground runs one dispatcher in the foreground, without a daemon: the same
// locks, timeout and environment as a job; output goes to the caller's own. It
// waits for locks as long as the dispatcher's queue_timeout and tells talk who
// holds them. When ctx is done it ends the child. The exit code is the child's
// where it ended by itself.
func RunForeground(ctx context.Context, cfg Config, name string, args json.RawMessage, talk io.Writer) (ipc.State, int, error) {
	// The caller's descriptors, ignored signals and umask are not the job's, as they
	// are not when the daemon starts it.
	proc.CloseInherited()
	proc.DefaultSignals()
	defer syscall.Umask(syscall.Umask(0o022))
	settings, err := loadSettings(cfg.Paths)
	if err != nil {
		return ipc.Failed, 0, err
	}
	h := &host{cfg: cfg, log: cmp.Or(cfg.Log, slog.Default()), settings: settings, build: newBuilder(cfg, settings, proc.BootID())}
	h.runner = &run.Runner{Build: h.build, Locks: run.LocksIn(cfg.Paths), Start: run.Foreground, Log: h.log}
	h.catalog.Store(h.read())
	spec, err := h.lookup(name)
	if err != nil {
		return ipc.Failed, 0, err
	}
	sub, err := h.check(ctx, spec, ipc.NotifyRequest{Dispatcher: name, Arguments: args})
	if err != nil {
		return ipc.Failed, 0, err
	}
	if err := makeRunDir(cfg.Paths, settings.SocketGroup); err != nil {
		return ipc.Failed, 0, err
	}
	job := &store.Job{ID: ulid.Make(), Dispatcher: name, Arguments: sub.args, Origin: ipc.OriginNotify}
	locks, err := waitLocks(ctx, h.runner, spec, job, talk)
	if err != nil {
		return ipc.Expired, 0, err
	}
	return h.foreground(ctx, run.New(job, 1, spec, h.attemptFiles(job.ID, 1), locks))
}

// waitLocks takes the locks of a job in the foreground, all or none. It tries once a
// second: there is no loop that others could wake.
func waitLocks(ctx context.Context, r *run.Runner, spec *dispatchers.Spec, job *store.Job, talk io.Writer) (*run.Locks, error) {
	if spec.QueueTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, spec.QueueTimeout)
		defer cancel()
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	told := ""
	for {
		locks, err := r.TryLocks(spec, job.Arguments, lockfile.Holder{Job: job.ID.String(), PID: os.Getpid()})
		busy, ok := errors.AsType[*run.BusyError](err)
		if !ok || !busy.Held() {
			return locks, err
		}
		if now := fmt.Sprintf("waiting for lock %s, held by process %d", busy.Lock, busy.PID); now != told {
			fmt.Fprintln(talk, now)
			told = now
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			p := ipc.Errorf(ipc.KindLocked, "lock %s is held by process %d", busy.Lock, busy.PID)
			p.Holder = fmt.Sprint(busy.PID)
			return nil, p
		}
	}
}

// foreground runs an attempt to its end. There is no journal to record its start:
// a run in the foreground ends with this process and is nobody's job.
func (h *host) foreground(ctx context.Context, a *run.Attempt) (ipc.State, int, error) {
	runtime.LockOSThread() // run.Foreground: the child lives as long as this thread
	defer runtime.UnlockOSThread()
	recorded := make(chan error, 1)
	recorded <- nil
	w := watcher{stop: ctx.Done()}
	h.runner.Run(context.WithoutCancel(ctx), a, recorded, &w)
	a.Files.Remove()
	return w.verdict(a.Spec)
}

// watcher is the Events of a run in the foreground. It keeps how the run ended.
type watcher struct {
	stop   <-chan struct{} // closed when the child is to end
	result run.Result
	err    error // why there was no child
}

// Started is run.Events'.
func (w *watcher) Started(_ *run.Attempt, c run.Child) {
	go func() {
		select {
		case <-w.stop:
			_ = c.Stop()
		case <-c.Done():
		}
	}()
}

// Progressed is run.Events'. Nobody looks at progress.
func (w *watcher) Progressed(*run.Attempt, proc.Update) {}

// NotStarted is run.Events'.
func (w *watcher) NotStarted(_ *run.Attempt, err error) { w.err = err }

// Ended is run.Events'.
func (w *watcher) Ended(_ *run.Attempt, res run.Result) { w.result = res }

// verdict words the end for the command: the error says what state and exit code do
// not.
func (w *watcher) verdict(spec *dispatchers.Spec) (ipc.State, int, error) {
	x := w.result.Exit
	if w.err != nil {
		x.Err = w.err
	}
	state, why := run.Verdict(spec, x, run.Cause{Canceled: x.Canceled}) // nobody but us stops it
	switch {
	case x.Err != nil:
		if p, typed := errors.AsType[*ipc.Error](x.Err); typed {
			return state, 0, p
		}
		return state, why.ExitStatus, ipc.Errorf(why.Kind, "%s", why.Message)
	case why != nil && why.Kind == ipc.KindSignaled:
		return state, x.Code, ipc.Errorf(ipc.KindSignaled, "%s %s", spec.Name, why.Message)
	}
	if state == ipc.TimedOut && x.Signal != "" {
		return state, state.ExitCode(), nil // as the clients say it
	}
	return state, x.Code, nil
}
