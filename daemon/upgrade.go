package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/proc/command"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// CheckFlag makes a program say whether it could start as the daemon: it prints
// its version and exits with 0, or says why not. The last image runs the next
// one so before it makes way for it.
const CheckFlag = "--check-start"

// checkEnv has the program that is tried say, on a second line, what it takes over
// that releases before it do not know of. They print their version alone.
const checkEnv = "DISPATCHD_CHECK"

// takesOutput is the word of a program that takes over the output of running jobs.
const takesOutput = "takes output"

// CheckText is what a program prints where it is asked by CheckFlag: its version, and,
// if the last image asks for it, what it takes over.
func CheckText(version string) string {
	if os.Getenv(checkEnv) == "" {
		return version
	}
	return version + "\n" + takesOutput
}

// launchWait bounds how long an upgrade waits for starts that are under way.
const launchWait = 15 * time.Second

// Check says whether a daemon could start with this configuration. A bad
// dispatcher disables itself and is no reason not to.
func Check(cfg Config) error {
	_, err := loadSettings(cfg.Paths)
	return err
}

// Upgrade has the daemon replaced by the program that its path leads to now, in
// place: same process, same socket, all jobs kept. It is answered before it is
// done. A program that could not start changes nothing.
func (b *backend) Upgrade(ctx context.Context, by ipc.Peer) (ipc.Upgrade, error) {
	if err := b.allow(query{Verb: server.VerbUpgrade, Peer: by}); err != nil {
		return ipc.Upgrade{}, err // before the new program is tried
	}
	u := ipc.Upgrade{From: b.cfg.Version, StartedAt: b.epoch.UTC()}
	if len(b.cfg.Upgrade) == 0 {
		return u, ipc.Errorf(ipc.KindStateConflict, "this daemon cannot be upgraded in place; restart it")
	}
	var broken error
	if err := b.do(ctx, func(s *state) { broken = s.journal.Err() }); err != nil {
		return u, err
	}
	if broken != nil {
		return u, b.unavailable(broken)
	}
	if err := ownProgram(b.cfg.Upgrade[0]); err != nil {
		p := ipc.Errorf(ipc.KindUpgradeFailed, "%v", err)
		p.Suggestion = "the old daemon goes on; mend that and ask again"
		return u, p
	}
	text, err := command.TryProgram(ctx, []string{checkEnv + "=1"}, append(slices.Clone(b.cfg.Upgrade), CheckFlag)...)
	if err != nil {
		p := ipc.Errorf(ipc.KindUpgradeFailed, "%s cannot start: %v", b.cfg.Upgrade[0], err)
		p.Suggestion = "the old daemon goes on; mend the new one and ask again"
		return u, p
	}
	var more string
	u.To, more, _ = strings.Cut(text, "\n")
	b.log.Info("upgrade", "from", u.From, "to", u.To, "uid", by.UID, "pid", by.PID)
	select {
	case b.upgrades <- successor{takesOutput: strings.Contains(more, takesOutput)}:
	default: // one is under way
	}
	return u, nil
}

// ownProgram refuses a program that somebody else owns or, where root runs it, that
// others can write to: it would be run with all that the daemon may do.
func ownProgram(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	others := os.FileMode(0o002)
	if os.Geteuid() == 0 {
		others = 0o022
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case ok && st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s: belongs to user %d, not to root or the daemon's user", path, st.Uid)
	case fi.Mode().Perm()&others != 0:
		return fmt.Errorf("%s: others can write to it (mode %04o)", path, fi.Mode().Perm())
	}
	return nil
}

// upgrade makes way for the next image. It returns nil where the old one is to
// go on, and an error only where it cannot.
func (d *daemon) upgrade(ctx context.Context, next successor, srv *server.Server, l *net.UnixListener) error {
	if err := d.quiesce(ctx); err != nil {
		d.log.Error("upgrade: postponed", "error", err)
		return d.resumeServing(srv)
	}
	socket, err := l.File()
	if err != nil {
		d.log.Error("upgrade: postponed", "error", err)
		return d.resumeServing(srv)
	}
	// From here on there is no way back, and a stop has to wait.
	ctx = context.WithoutCancel(ctx)
	d.shutdown(ctx, srv)
	h := inherited{Listener: int(socket.Fd()), Activated: d.socketActivated}
	keep := []*os.File{socket}
	runs, files, err := d.detachChildren(ctx, next)
	if err == nil {
		h.Runs, keep = runs, append(keep, files...)
		err = d.do(ctx, func(s *state) { h.Draining, h.Counters = s.core.Draining(), s.jobs.Total })
	}
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	d.saveAll(ctx)
	d.loop.Stop(func(s *state) {
		if err := s.journal.Close(); err != nil {
			// What was acknowledged is on disk; ends are found again by their files.
			s.log.Error("journal close", "error", err)
		}
	})
	return d.execNext(&h, keep)
}

// shutdown gives open requests a moment, and cuts them then.
func (d *daemon) shutdown(ctx context.Context, srv *server.Server) {
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		d.log.Warn("open requests were cut", "error", err)
	}
}

// quiesce stops new starts, and waits for those that are under way.
func (d *daemon) quiesce(ctx context.Context) error {
	if err := d.do(ctx, func(s *state) { s.handingOver = true; s.core.Freeze(true) }); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, launchWait)
	defer cancel()
	err := d.until(bounded, (*state).launched)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("%s has not started within %s", d.notLaunched(ctx), launchWait)
	}
	return err
}

// launched reports that no start is under way.
func (s *state) launched() bool {
	for r := range s.attempts() {
		if r.Child() == nil {
			return false
		}
	}
	return true
}

// notLaunched names a job whose start is under way.
func (d *daemon) notLaunched(ctx context.Context) string {
	name := "a job"
	_ = d.do(ctx, func(s *state) {
		for r := range s.attempts() {
			if r.Child() == nil {
				name = "job " + r.Job.ID
			}
		}
	})
	return name
}

// resumeServing takes a quiesce back.
func (d *daemon) resumeServing(srv *server.Server) error {
	d.post(func(s *state) {
		s.handingOver = false
		s.core.Freeze(s.journal.Broken()) // on a full disk what was accepted starts all the same
		performing(s).perform(s.core.Tick(s.now()))
		scheduling(s).submitDue() // what waited for the next image
	})
	d.shutdown(context.Background(), srv) // serve opens another
	return nil
}

// saveAll writes the whole state: jobs of durability "memory" are nowhere else.
func (d *daemon) saveAll(ctx context.Context) {
	saved := make(chan error, 1)
	if d.do(ctx, func(s *state) { s.journal.SaveAll(func(err error) { saved <- err }) }) != nil {
		return
	}
	if err := <-saved; err != nil {
		d.log.Error("journal: snapshot before the upgrade", "error", err)
	}
}

// detachChildren ends our watch over the children without a shim, and gives what
// the next image needs of them. Those that have ended meanwhile are waited for.
func (d *daemon) detachChildren(ctx context.Context, next successor) (runs []handedRun, keep []*os.File, err error) {
	var ended []*attempt
	if err := d.do(ctx, func(s *state) {
		for r := range s.attempts() {
			child, files, locks, ok := s.runner.Detach(r.Attempt, next.takesOutput)
			if !ok {
				if r.Child() != nil && !r.Child().Supervised() {
					ended = append(ended, r)
				}
				continue
			}
			h := handedRun{Job: r.Job.ID, Attempt: r.Job.Attempt, Child: child}
			for f, shared := range locks.All() {
				h.Locks = append(h.Locks, handedLock{int(f.Fd()), shared})
				keep = append(keep, f)
			}
			runs, keep = append(runs, h), append(keep, files...)
		}
	}); err != nil {
		return nil, nil, err
	}
	// The end of those that are not handed must reach the journal.
	err = d.until(ctx, func(*state) bool {
		return !slices.ContainsFunc(ended, func(r *attempt) bool { return attemptOf(r.job) == r })
	})
	return runs, keep, err
}

// handover writes what the next image gets into a file without a name, in the first of
// these directories that is there and has room: there is no way back by now.
func handover(h *inherited, dirs ...string) (*os.File, error) {
	var all error
	for _, dir := range dirs {
		f, err := os.CreateTemp(dir, "handover-")
		if err == nil {
			_ = os.Remove(f.Name())
			if err = json.NewEncoder(f).Encode(h); err == nil {
				return f, nil
			}
			_ = f.Close()
		}
		all = errors.Join(all, err)
	}
	return nil, all
}

// execNext executes the next image, and the present one again if that fails.
func (d *daemon) execNext(h *inherited, keep []*os.File) error {
	lock, err := d.dir.LockFile()
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	h.Bridge = int(lock.Fd())
	f, err := handover(h, d.cfg.Paths.Run, os.TempDir())
	if err != nil {
		return fmt.Errorf("upgrade: %w", err)
	}
	keep = append(keep, lock, f)
	env := environment(int(f.Fd()))
	err = proc.Exec(d.cfg.Upgrade, env, keep)
	d.log.Error("upgrade: the new program cannot be executed; the old one starts again", "program", d.cfg.Upgrade[0], "error", err)
	again := append([]string{"/proc/self/exe"}, d.cfg.Upgrade[1:]...)
	return fmt.Errorf("upgrade: the old program: %w", proc.Exec(again, env, keep))
}
