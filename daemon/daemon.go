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

	"dispatchd/daemon/internal/launch"
	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
	"dispatchd/scheduler"
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

	wall  func() time.Time  // nil = time.Now; another in tests of clocks that are set
	allow func(query) error // nil = allow; another in tests of who asks it
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
	given, err := takeHandover()
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
	dir, err := store.Open(cfg.Paths.State, store.Options{Log: cfg.Log, Bridge: given.bridge()})
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	e, err := newEngine(cfg, settings, dir, given)
	if err != nil {
		return err
	}
	return e.serve(ctx, socket)
}

// newEngine opens the journal, loads the definitions and restores the jobs.
func newEngine(cfg Config, settings dispatchers.Settings, dir *store.Dir, given *handover) (*engine, error) {
	book := store.NewBook(store.Retention{
		Count: settings.HistoryCount, Age: time.Duration(settings.HistoryAge), Bytes: settings.HistoryBytes,
	})
	e := &engine{
		cfg: cfg, log: cfg.Log, settings: settings, dir: dir, book: book, given: given, upgrades: make(chan struct{}, 1),
		core:     queue.New(queue.Limits{MaxRunning: settings.MaxRunning, MaxOutstanding: settings.MaxOutstanding}),
		calls:    make(chan func(), 256),
		looks:    make(chan func()),
		poked:    make(chan struct{}, 1),
		done:     make(chan struct{}),
		ended:    make(chan struct{}),
		epoch:    time.Now(),
		wall:     cfg.wall,
		owed:     map[string]scheduler.Tick{},
		failings: map[string]*failing{},
		runs:     map[queue.ID]*run{},
		inflight: map[queue.ID][]func(error){},
		waiters:  map[queue.ID][]chan struct{}{},
		ending:   map[queue.ID]*ending{},
		joining:  map[store.Key][]func(error){},
		tallies:  map[string]*tally{},
		outputs:  store.NewQuota(settings.LogBytes),
	}
	if e.wall == nil {
		e.wall = time.Now
	}
	if e.cfg.allow == nil {
		e.cfg.allow = allow
	}
	if managed() {
		e.stirred = make(chan struct{}, 1)
	}
	if err := e.openEpoch(); err != nil {
		return nil, err
	}
	e.build = newBuilder(cfg, settings, e.bootID)
	e.starter = e.startProcess
	journal, report, err := dir.OpenJournal(settings.Durability, book)
	if err != nil {
		return nil, fmt.Errorf("journal in %s: %w", cfg.Paths.State, err)
	}
	e.journal = journal
	journal.SetOnFail(func(err error) { e.post(func() { e.journalFailed(err) }) })
	journal.SetOnFull(func(err error) { e.post(func() { e.journalFull(err) }) })
	e.sayReport(report)
	if err := e.openCaches(); err != nil {
		return nil, errors.Join(err, journal.Close())
	}
	e.load()
	e.recallFailures()
	e.restore(report.Suspects)
	if given != nil {
		e.draining, e.total = given.Draining, given.Counters
		e.core.Drain(e.draining)
	}
	return e, nil
}

// newBuilder makes the builder of launches.
func newBuilder(cfg Config, settings dispatchers.Settings, bootID string) *launch.Builder {
	return &launch.Builder{
		Settings: settings, Socket: cfg.Paths.Socket(), BootID: bootID,
		Users: launch.SystemUsers{}, Packages: launch.NewDatabase(settings.PackageManager),
	}
}

// serve answers on the socket until ctx is done, then stops in reverse order.
func (e *engine) serve(ctx context.Context, socket *net.UnixListener) error {
	l, err := e.listen(socket)
	if err != nil {
		return errors.Join(err, e.journal.Close())
	}
	go e.loop()
	if e.given == nil {
		e.notifyAtStart()
	}
	srv, failed := e.answer(l)
	e.log.Info("ready", "socket", e.cfg.Paths.Socket(), "dispatchers", len(e.catalog.Load().Specs), "pid", os.Getpid())
	if e.cfg.Ready != nil {
		e.cfg.Ready()
	}
	e.tellReady()
	for {
		select {
		case <-ctx.Done():
			return e.stop(srv, l)
		case err := <-failed:
			return errors.Join(err, e.stop(srv, l))
		case <-e.cfg.ReloadOn:
			if _, err := e.Reload(ctx, self(), false); err != nil {
				e.log.Error("reload", "error", err)
			}
		case <-e.cfg.UpgradeOn:
			if _, err := e.Upgrade(ctx, self()); err != nil {
				e.log.Error("upgrade", "error", err)
			}
		case <-e.upgrades:
			if err := e.upgrade(ctx, srv, l); err != nil {
				return err
			}
			// It could not be done, and the old one goes on.
			srv, failed = e.answer(l)
		}
	}
}

// listen opens the socket, or takes the one that the last image listened on, or
// that the service manager opened: that one is the manager's to remove.
func (e *engine) listen(socket *net.UnixListener) (*net.UnixListener, error) {
	switch {
	case e.given != nil:
		e.activated = e.given.Activated
		return e.given.listener()
	case socket != nil:
		e.activated = true
		if at := socket.Addr().String(); at != e.cfg.Paths.Socket() {
			e.log.Warn("the service manager's socket is not where clients look for it", "socket", at, "expected", e.cfg.Paths.Socket())
		}
		return socket, nil
	}
	return server.Listen(e.cfg.Paths.Socket(), e.settings.SocketGroup, 0o660)
}

// answer serves the API on a copy of the socket, so that the socket itself
// outlives the server. The channel gives the error that ends it.
func (e *engine) answer(l *net.UnixListener) (*server.Server, <-chan error) {
	srv := server.New(e, server.Options{Log: e.log, Version: e.cfg.Version, MaxConns: e.settings.MaxConnections})
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

// stop ends the daemon: no new starts, running children told to end, open
// requests given a moment, the journal closed clean.
func (e *engine) stop(srv *server.Server, l *net.UnixListener) error {
	e.log.Info("stopping")
	e.tellManager("STOPPING=1", "STATUS=stopping; jobs that outlive the daemon go on")
	e.stopRuns()
	close(e.done)
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		e.log.Warn("open requests were cut", "error", err)
	}
	_ = l.Close()
	if !e.activated {
		_ = os.Remove(e.cfg.Paths.Socket())
	}
	<-e.ended
	if err := e.putDown(); err != nil {
		return err
	}
	e.log.Info("stopped")
	return nil
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

// sayReport tells loudly what the journal's replay found.
func (e *engine) sayReport(r store.Report) {
	if r.Torn > 0 {
		e.log.Warn("journal: an unfinished last write was cut; nobody was answered for it", "bytes", r.Torn)
	}
	if r.Damaged {
		e.log.Error("journal: DAMAGED; everything readable was kept", "damaged_file", r.KeptAs)
	}
	for _, m := range r.Lost {
		e.log.Error("journal: " + m)
		e.warnings = append(e.warnings, "journal: "+m)
	}
	if e.dir.Volatile() {
		e.warnings = append(e.warnings, "the state directory is in memory: jobs do not outlive a reboot")
	}
}
