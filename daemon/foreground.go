package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/launch"
	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/lockfile"
)

// RunOnce runs one dispatcher in the foreground, without a daemon: the same
// locks, timeout and environment; output goes to the caller's own. It waits
// for locks as long as the dispatcher's queue_timeout and tells talk who holds
// them. The exit code is the child's where it ended by itself.
func RunOnce(ctx context.Context, cfg Config, name string, args json.RawMessage, talk io.Writer) (ipc.State, int, error) {
	settings, faults := dispatchers.LoadSettings(cfg.Paths.Config)
	if len(faults) > 0 {
		return ipc.Failed, 0, ipc.Errorf(ipc.KindConfiguration, "%s", faults[0].Render())
	}
	h := &host{cfg: cfg, settings: settings, build: newBuilder(cfg, settings, proc.BootID())}
	h.catalog.Store(h.read())
	spec, err := h.lookup(name)
	if err != nil {
		return ipc.Failed, 0, err
	}
	s, err := h.check(ctx, spec, ipc.NotifyRequest{Dispatcher: name, Arguments: args})
	if err != nil {
		return ipc.Failed, 0, err
	}
	if err := makeRunDir(cfg.Paths, settings.SocketGroup); err != nil {
		return ipc.Failed, 0, err
	}
	r := &run{spec: spec, attempt: 1, job: &store.Job{ID: ulid.Make(), Dispatcher: name, Arguments: s.args, Origin: ipc.OriginNotify}}
	if err := h.waitLocks(ctx, r, talk); err != nil {
		return ipc.Expired, 0, err
	}
	defer r.release()
	return h.foreground(ctx, r)
}

// waitLocks takes the locks of a foreground run, once a second, all or none.
func (h *host) waitLocks(ctx context.Context, r *run, talk io.Writer) error {
	if limit := time.Duration(r.spec.QueueTimeout); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := ""
	for {
		lock, pid, err := h.takeLocks(r, r.job)
		if err == nil {
			return nil
		}
		if _, busy := errors.AsType[*lockfile.BusyError](err); !busy {
			return fmt.Errorf("lock %s: %w", lock, err)
		}
		if now := fmt.Sprintf("waiting for lock %s, held by process %d", lock, pid); now != said {
			fmt.Fprintln(talk, now)
			said = now
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p := ipc.Errorf(ipc.KindLocked, "lock %s is held by process %d", lock, pid)
			p.Holder = fmt.Sprint(pid)
			return p
		}
	}
}

// foreground starts the child and waits for its end; Ctrl-C stops it.
func (h *host) foreground(ctx context.Context, r *run) (ipc.State, int, error) {
	l, err := h.build.Build(r.spec, launchJob(r.job, 1), h.marks(r.job.ID, 1), launch.Outputs{})
	if err != nil {
		return ipc.Failed, 0, ipc.Errorf(ipc.KindStartFailed, "%v", err)
	}
	l.NotifySocket = "" // nobody looks at progress
	// This process lives for this run alone, so it can be its own shim.
	l.SelfSupervised = true
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := launch.WriteArguments(l, r.job.Arguments); err != nil {
		return ipc.Failed, 0, err
	}
	defer launch.RemoveFiles(l)
	p, err := proc.Start(l, func(proc.Update) {})
	if err != nil {
		return ipc.Failed, 0, ipc.Errorf(ipc.KindStartFailed, "%v", err)
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Stop()
		<-p.Done()
	}
	exit := p.Exit()
	switch {
	case exit.Canceled:
		return ipc.Canceled, exit.Code, nil
	case exit.TimedOut:
		return ipc.TimedOut, exit.Code, nil
	case exit.Signal != "":
		return ipc.Failed, exit.Code, ipc.Errorf(ipc.KindSignaled, "%s ended by signal %s", r.spec.Name, strings.TrimSpace(exit.Signal))
	case !slices.Contains(r.spec.SuccessExitCodes, exit.Code):
		return ipc.Failed, exit.Code, nil
	}
	return ipc.Succeeded, exit.Code, nil
}
