package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/proc/command"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// CheckFlag makes a program say whether it could start as the daemon: it prints
// its version and exits with 0, or says why not. The last image runs the next
// one so before it makes way for it.
const CheckFlag = "--check-start"

// launchWait bounds how long an upgrade waits for starts that are under way.
const launchWait = 15 * time.Second

// Check says whether a daemon could start with this configuration. A bad
// dispatcher disables itself and is no reason not to.
func Check(cfg Config) error {
	if _, faults := dispatchers.LoadSettings(cfg.Paths.Config); len(faults) > 0 {
		return ipc.Errorf(ipc.KindConfiguration, "%s", faults[0].Render())
	}
	return nil
}

// Upgrade has the daemon replaced by the program that its path leads to now, in
// place: same process, same socket, all jobs kept. It is answered before it is
// done. A program that could not start changes nothing.
func (e *engine) Upgrade(ctx context.Context, by ipc.Peer) (ipc.Upgrade, error) {
	if err := e.allow(query{Verb: server.VerbUpgrade, Peer: by}); err != nil {
		return ipc.Upgrade{}, err // before the new program is tried
	}
	u := ipc.Upgrade{From: e.cfg.Version, StartedAt: e.epoch.UTC()}
	if len(e.cfg.Upgrade) == 0 {
		return u, ipc.Errorf(ipc.KindStateConflict, "this daemon cannot be upgraded in place; restart it")
	}
	var broken error
	if err := e.do(ctx, func() { broken = e.journalErr }); err != nil {
		return u, err
	}
	if broken != nil {
		return u, e.unavailable(broken)
	}
	version, err := command.TryProgram(ctx, append(slices.Clone(e.cfg.Upgrade), CheckFlag)...)
	if err != nil {
		p := ipc.Errorf(ipc.KindUpgradeFailed, "%s cannot start: %v", e.cfg.Upgrade[0], err)
		p.Suggestion = "the old daemon goes on; mend the new one and ask again"
		return u, p
	}
	u.To = version
	e.log.Info("upgrade", "from", u.From, "to", u.To, "uid", by.UID, "pid", by.PID)
	select {
	case e.upgrades <- struct{}{}:
	default: // one is under way
	}
	return u, nil
}

// upgrade makes way for the next image. It returns nil where the old one is to
// go on, and an error only where it cannot.
func (e *engine) upgrade(ctx context.Context, srv *server.Server, l *net.UnixListener) error {
	if err := e.quiesce(ctx); err != nil {
		e.log.Error("upgrade: put off", "error", err)
		return e.goOn(srv)
	}
	socket, err := l.File()
	if err != nil {
		e.log.Error("upgrade: put off", "error", err)
		return e.goOn(srv)
	}
	// From here on there is no way back, and a stop has to wait.
	ctx = context.WithoutCancel(ctx)
	shutdown(ctx, srv, e)
	h := handover{Listener: int(socket.Fd()), Activated: e.activated}
	keep := []*os.File{socket}
	runs, files, err := e.handDirect(ctx)
	if err == nil {
		h.Runs, keep = runs, append(keep, files...)
		err = e.do(ctx, func() { h.Draining, h.Counters = e.draining, e.total })
	}
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	e.saveAll(ctx)
	close(e.done)
	<-e.ended
	if err := e.journal.Close(); err != nil {
		// What was acknowledged is on disk; ends are found again by their marks.
		e.log.Error("journal close", "error", err)
	}
	return e.become(&h, keep)
}

// shutdown gives open requests a moment, and cuts them then.
func shutdown(ctx context.Context, srv *server.Server, e *engine) {
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		e.log.Warn("open requests were cut", "error", err)
	}
}

// quiesce stops new starts, and waits for those that are under way.
func (e *engine) quiesce(ctx context.Context) error {
	if err := e.do(ctx, func() { e.leaving = true; e.core.Freeze(true) }); err != nil {
		return err
	}
	launched, err := e.until(ctx, func() bool {
		for _, r := range e.runs {
			if r.process == nil {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	select {
	case <-launched:
		return nil
	case <-time.After(launchWait):
		return errors.New("a job is being started and does not get on")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// goOn takes a quiesce back.
func (e *engine) goOn(srv *server.Server) error {
	e.post(func() {
		e.leaving = false
		e.core.Freeze(e.journalErr != nil)
		e.perform(e.core.Tick(e.now()))
	})
	shutdown(context.Background(), srv, e) // serve opens another
	return nil
}

// saveAll writes the whole book: jobs of durability "memory" are nowhere else.
func (e *engine) saveAll(ctx context.Context) {
	saved := make(chan error, 1)
	if e.do(ctx, func() { e.journal.Rewrite(e.book.Whole(), func(err error) { saved <- err }) }) != nil {
		return
	}
	if err := <-saved; err != nil {
		e.log.Error("journal: snapshot before the upgrade", "error", err)
	}
}

// become executes the next image, and the present one again if that fails.
func (e *engine) become(h *handover, keep []*os.File) error {
	bridge, err := e.dir.Bridge()
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	h.Bridge = int(bridge.Fd())
	f, err := os.CreateTemp(e.cfg.Paths.Run, "handover-")
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	_ = os.Remove(f.Name())
	if err := json.NewEncoder(f).Encode(h); err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	keep = append(keep, bridge, f)
	env := environment(int(f.Fd()))
	err = proc.Exec(e.cfg.Upgrade, env, keep)
	e.log.Error("upgrade: the new program cannot be executed; the old one starts again", "program", e.cfg.Upgrade[0], "error", err)
	again := append([]string{"/proc/self/exe"}, e.cfg.Upgrade[1:]...)
	return fmt.Errorf("upgrade: the old program: %w", proc.Exec(again, env, keep))
}
