package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"syscall"
	"time"

	"dispatchd/daemon/internal/caches"
	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/launch"
	"dispatchd/daemon/internal/loop"
	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/run"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// Config says what a daemon is made of. Only Paths is required.
type Config struct {
	Paths     ipc.Paths
	Functions *dispatchers.Set // Go-native dispatchers, nil = none
	Log       *slog.Logger     // nil = slog.Default()
	Version   string
	Shim      []string         // argv of a program that calls RunShim at once; nil = jobs are children of the daemon and die with it
	Upgrade   []string         // argv of this program, for an upgrade in place; nil = there is none
	UpgradeOn <-chan os.Signal // has one done, nil = the API only
	ReloadOn  <-chan os.Signal // has the definitions read anew, nil = the API only
	Ready     func()           // called once when the socket answers, nil = nobody asks

	wall  func() time.Time      // nil = time.Now; another in tests of clocks that are set
	allow func(query) error     // nil = allow; another in tests of who asks it
	disk  func(durable.Journal) // gets the journal in tests that hold it up
}

// stopGrace bounds how long a stop waits for open requests.
const stopGrace = 2 * time.Second

// Run is the whole life of a daemon: it returns nil when ctx is done and
// everything was put down in order, or an *ipc.Error that says what prevents
// it from running (KindLocked: another daemon owns the state directory,
// KindConfiguration: its settings are bad).
func Run(ctx context.Context, cfg Config) error {
	if err := notOfAJob(); err != nil {
		return err
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	settings, faults := dispatchers.LoadSettings(cfg.Paths.Config)
	if len(faults) > 0 {
		return ipc.Errorf(ipc.KindConfiguration, "%s", faults[0].Render())
	}
	handed, err := readInherited()
	if err != nil {
		return err
	}
	socket, err := server.Activated()
	if err != nil {
		return err
	}
	proc.CloseInherited()
	syscall.Umask(0o022)
	if err := makeRunDir(cfg.Paths, settings.SocketGroup); err != nil {
		return err
	}
	dir, err := store.Open(cfg.Paths.State, store.Options{Log: cfg.Log, Bridge: handed.lock()})
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	d, first, err := newDaemon(cfg, settings, dir, handed)
	if err != nil {
		return err
	}
	return d.serve(ctx, socket, first)
}

// daemon wires the rooms together and leads them through their life. Its API is
// backend's; what it decides on is the loop's (state).
type daemon struct {
	*backend
	handed          *inherited // by the last image of the program, nil = none
	socketActivated bool       // the socket is the service manager's
}

// newDaemon opens the journal, loads the definitions and makes the loop. Jobs are
// restored when it runs.
func newDaemon(cfg Config, settings dispatchers.Settings, dir *store.Dir, handed *inherited) (*daemon, func(*state), error) {
	h := &host{
		cfg: cfg, log: cfg.Log, settings: settings, dir: dir, epoch: time.Now(), wallClock: cfg.wall,
	}
	if h.wallClock == nil {
		h.wallClock = time.Now
	}
	if h.cfg.allow == nil {
		h.cfg.allow = allow
	}
	d := &daemon{backend: &backend{host: h, upgrades: make(chan struct{}, 1)}, handed: handed}
	h.manager = newServiceManager(h)
	if err := h.openEpoch(); err != nil {
		return nil, nil, err
	}
	h.build = newBuilder(cfg, settings, h.bootID)
	s := newState(h, handed)
	h.loop = loop.New(s, loop.Driver[state]{Due: (*state).due, Next: (*state).next, After: (*state).after})
	report, err := s.openJournal()
	if err != nil {
		return nil, nil, fmt.Errorf("journal in %s: %w", cfg.Paths.State, err)
	}
	s.logReport(report)
	files, err := s.openCaches(s.jobs)
	if err != nil {
		return nil, nil, errors.Join(err, s.journal.Close())
	}
	h.caches = caches.New(files, refresher{d.backend})
	h.runner = &run.Runner{
		Build: h.build, Locks: run.LocksIn(cfg.Paths), Logs: dir, Data: h.caches, Start: run.Supervised(cfg.Shim), Log: cfg.Log,
	}
	return d, func(s *state) { s.recover(report.Suspects) }, nil
}

// newBuilder makes the builder of launches.
func newBuilder(cfg Config, settings dispatchers.Settings, bootID string) *launch.Builder {
	return &launch.Builder{
		Settings: settings, Socket: cfg.Paths.Socket(), BootID: bootID,
		Users: launch.SystemUsers{}, Packages: launch.NewDatabase(settings.PackageManager),
	}
}

// start runs the loop, and returns when the jobs of the journal are restored.
func (d *daemon) start(first func(*state)) {
	var cancel context.CancelFunc
	d.following, cancel = context.WithCancel(context.Background())
	go d.loop.Run(first)
	go func() {
		defer cancel()
		<-d.loop.Stopping()
	}()
	_ = d.view(context.Background(), func(*state) {}) // it has not been stopped
}

// serve answers on the socket until ctx is done, then stops in reverse order.
func (d *daemon) serve(ctx context.Context, socket *net.UnixListener, first func(*state)) error {
	l, err := d.listen(socket)
	if err != nil {
		go d.loop.Run(nil)
		d.loop.Stop(func(s *state) { err = errors.Join(err, s.journal.Close()) })
		return err
	}
	d.start(first)
	if d.handed == nil {
		d.notifyAtStart()
	}
	srv, failed := d.answer(l)
	d.log.Info("ready", "socket", d.cfg.Paths.Socket(), "dispatchers", len(d.catalog.Load().Specs), "pid", os.Getpid())
	if d.cfg.Ready != nil {
		d.cfg.Ready()
	}
	d.manager.ready(d.loop.Stopping())
	go returnProgram(d.log)
	for {
		select {
		case <-ctx.Done():
			return d.stop(srv, l)
		case err := <-failed:
			return errors.Join(err, d.stop(srv, l))
		case <-d.cfg.ReloadOn:
			if _, err := d.Reload(ctx, self(), false); err != nil {
				d.log.Error("reload", "error", err)
			}
		case <-d.cfg.UpgradeOn:
			if _, err := d.Upgrade(ctx, self()); err != nil {
				d.log.Error("upgrade", "error", err)
			}
		case <-d.upgrades:
			if err := d.upgrade(ctx, srv, l); err != nil {
				return err
			}
			// It could not be done, and the old one goes on.
			srv, failed = d.answer(l)
		}
	}
}

// listen opens the socket, or takes the one that the last image listened on, or
// that the service manager opened: that one is the manager's to remove.
func (d *daemon) listen(socket *net.UnixListener) (*net.UnixListener, error) {
	switch {
	case d.handed != nil:
		d.socketActivated = d.handed.Activated
		return d.handed.listener()
	case socket != nil:
		d.socketActivated = true
		if at := socket.Addr().String(); at != d.cfg.Paths.Socket() {
			d.log.Warn("the service manager's socket is not where clients look for it", "socket", at, "expected", d.cfg.Paths.Socket())
		}
		return socket, nil
	}
	return server.Listen(d.cfg.Paths.Socket(), d.settings.SocketGroup, 0o660)
}

// answer serves the API on a copy of the socket, so that the socket itself
// outlives the server. The channel gives the error that ends it.
func (d *daemon) answer(l *net.UnixListener) (*server.Server, <-chan error) {
	srv := server.New(d.backend, server.Options{Log: d.log, Version: d.cfg.Version, MaxConns: d.settings.MaxConnections})
	failed := make(chan error, 1)
	go func() {
		copied, err := duplicate(l)
		if err == nil {
			err = srv.Serve(copied)
		}
		if err != nil {
			failed <- err
		}
	}()
	return srv, failed
}

// stop ends the daemon: no new starts, running children told to end, the journal
// closed clean, open requests given a moment for their answers.
func (d *daemon) stop(srv *server.Server, l *net.UnixListener) error {
	d.log.Info("stopping")
	d.manager.send("STOPPING=1", "STATUS=stopping; jobs that outlive the daemon go on")
	d.stopRuns()
	var err error
	d.loop.Stop(func(s *state) { err = s.closeJournal() })
	d.shutdown(context.Background(), srv)
	_ = l.Close()
	if !d.socketActivated {
		_ = os.Remove(d.cfg.Paths.Socket())
	}
	if err == nil {
		d.log.Info("stopped")
	}
	return err
}

// makeRunDir makes the directories of socket and locks, ours and 0755, so that
// nobody else can put a socket or a lock there.
func makeRunDir(p ipc.Paths, group string) error {
	for _, d := range []string{p.Run, p.Locks(), p.DispatcherLocks(), filepath.Join(p.Run, "jobs")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("run directory: %w", err)
		}
		if err := ownedDir(d); err != nil {
			return err
		}
	}
	// The directory itself stays its maker's: systemd gives one that is another's
	// to itself at every reload, with all that is in it.
	if err := os.Chown(p.Run, -1, os.Getegid()); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	for _, d := range []string{p.Locks(), p.DispatcherLocks()} {
		if err := giveTo(d, group); err != nil {
			return err
		}
	}
	return nil
}

// giveTo makes a directory the socket group's, so that the lock files in it
// are. The group may not write to it.
func giveTo(dir, group string) error {
	if group == "" {
		return nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return ipc.Errorf(ipc.KindConfiguration, "socket_group %s: %v", group, err)
	}
	gid, err := launch.ParseID(g.Gid)
	if err == nil {
		err = os.Chown(dir, -1, int(gid))
	}
	if err != nil {
		return ipc.Errorf(ipc.KindConfiguration, "socket_group %s: %v", group, err)
	}
	return nil
}

// ownedDir refuses a directory that somebody else owns or can write to.
func ownedDir(path string) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || !fi.IsDir() {
		return ipc.Errorf(ipc.KindConfiguration, "%s: not a directory; remove it and start again", path)
	}
	if int(st.Uid) != os.Geteuid() && st.Uid != 0 {
		return ipc.Errorf(ipc.KindConfiguration, "%s: belongs to user %d, not to the daemon's user %d; chown it", path, st.Uid, os.Geteuid())
	}
	if fi.Mode().Perm()&0o022 != 0 {
		return ipc.Errorf(ipc.KindConfiguration, "%s: others can write to it (mode %04o); run: chmod go-w %s", path, fi.Mode().Perm(), path)
	}
	return nil
}

// logReport tells loudly what the journal's replay found.
func (s *state) logReport(r store.Report) {
	if r.Torn > 0 {
		s.log.Warn("journal: an unfinished last write was cut; nobody was answered for it", "bytes", r.Torn)
	}
	if r.Damaged {
		s.log.Error("journal: DAMAGED; everything readable was kept", "damaged_file", r.KeptAs)
	}
	for _, m := range r.Lost {
		s.log.Error("journal: " + m)
		s.warnings = append(s.warnings, "journal: "+m)
	}
	if s.dir.Volatile() {
		s.warnings = append(s.warnings, "the state directory is in memory: jobs do not outlive a reboot")
	}
}
