package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"
	"time"

	"dispatchd/daemon/internal/caches"
	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/launch"
	"dispatchd/daemon/internal/loop"
	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/run"
	"dispatchd/daemon/internal/schedules"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc/server"
	"dispatchd/scheduler"
)

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
	forgetJob()
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	settings, err := loadSettings(cfg.Paths)
	if err != nil {
		return err
	}
	handed, err := readInherited()
	if err != nil {
		return err
	}
	socket, err := server.Activated()
	if err != nil {
		return err
	}
	limitMemory(cfg.Log)
	proc.CloseInherited()
	proc.DefaultSignals()
	syscall.Umask(0o022)
	if err := makeRunDir(cfg.Paths, settings.SocketGroup); err != nil {
		return err
	}
	dir, err := store.Open(cfg.Paths.State, store.Options{LockFile: handed.lock()})
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
	socketActivated bool // the socket is the service manager's
}

// newDaemon opens the journal, loads the definitions and makes the loop. Jobs are
// restored when it runs.
func newDaemon(cfg Config, settings dispatchers.Settings, dir *store.Dir, handed *inherited) (*daemon, func(*state), error) {
	h := &host{
		cfg: cfg, log: cfg.Log, settings: settings, dir: dir, inherited: handed, epoch: time.Now(), zones: &scheduler.Zones{},
		watch: watch{rebind: make(chan struct{}, 1)},
	}
	if h.cfg.wall == nil {
		h.cfg.wall = time.Now
	}
	if h.cfg.allow == nil {
		h.cfg.allow = allow
	}
	if h.cfg.room == nil {
		h.cfg.room = store.RoomAt
	}
	d := &daemon{backend: &backend{host: h, upgrades: make(chan successor, 1)}}
	h.manager = newServiceManager(h.log, h.statusText)
	if err := h.openEpoch(); err != nil {
		return nil, nil, err
	}
	atStart := proc.Uptime()
	h.timeline = store.NewTimeline(h.bootID, func() time.Duration { return atStart + h.now() })
	h.build = newBuilder(cfg, settings, h.bootID)
	s := newState(h)
	h.loop = loop.New(s, loop.Driver[state]{Due: due, Next: next, After: after})
	report, err := openJournal(s)
	if err != nil {
		return nil, nil, fmt.Errorf("journal in %s: %w", cfg.Paths.State, err)
	}
	s.planner = schedules.New(h.machine(), h.zones)
	s.logReport(report)
	files, err := s.openCaches(s.jobs)
	if err != nil {
		return nil, nil, errors.Join(err, s.journal.Close())
	}
	h.caches = caches.New(files, refresher{d.backend}, h.cacheAccess)
	h.runner = &run.Runner{
		Build: h.build, Locks: run.LocksIn(cfg.Paths), Logs: dir, Data: h.caches, Start: run.Supervised(cfg.Shim), Log: cfg.Log,
		Keepers: keepers(cfg.Shim),
	}
	return d, func(s *state) { recovering(s).recover(report.Suspects) }, nil
}

// openJournal replays the journal into the state, and opens it for writing.
func openJournal(s *state) (store.Report, error) {
	journal, report, err := s.dir.OpenJournal(s.jobs.Replay(), s.timeline)
	if err != nil {
		return report, err
	}
	if s.cfg.disk != nil {
		s.cfg.disk(journal)
	}
	s.watch.journal = journal
	journal.SetOnReinstated(s.reinstated)
	s.journal = durable.New(journal, durable.Owner{
		Log:      s.log,
		Post:     func(fn func()) { s.post(func(*state) { fn() }) },
		Snapshot: s.jobs.Snapshot,
		Broken:   func(error) { s.core.Freeze(true) },
		Works:    performing(s).journalWorks,
	})
	return report, nil
}

// due does what is due by now, and reports whether there was anything.
func due(s *state) bool {
	if s.memory.rests(s.now()) {
		go giveBack(s.log)
	}
	s.lookWhenDue() // that is no event
	effects := s.core.Tick(s.now())
	performing(s).perform(effects)
	return scheduling(s).submitDue() || len(effects) > 0
}

// next is when the queue, a schedule or the memory has work.
func next(s *state) (time.Duration, bool) {
	next, ok := s.core.Next()
	next = max(0, next-s.now())
	if look := max(0, s.lookAt-s.now()); s.lookAt > 0 && (!ok || look < next) {
		next, ok = look, true
	}
	if nap, some := s.planner.Next(s.clock()); some && (!ok || nap < next) {
		next, ok = nap, true
	}
	if calm, some := s.memory.next(s.now()); some && (!ok || calm < next) {
		next, ok = calm, true
	}
	return next, ok
}

// after notes that something happened.
func after(s *state) {
	s.memory.event(s.now())
	s.manager.changed()
}

// statusText asks the loop what the daemon does, for its service manager; "" = the
// loop has ended.
func (h *host) statusText(ctx context.Context) (text string) {
	_ = h.view(ctx, func(s *state) { text = viewing(s).statusText() })
	return text
}

// newBuilder makes the builder of launches.
func newBuilder(cfg Config, settings dispatchers.Settings, bootID string) *launch.Builder {
	return &launch.Builder{
		Settings: settings, Socket: cfg.Paths.Socket(), BootID: bootID,
		Users: launch.SystemUsers{}, Packages: launch.NewDatabase(settings.PackageManager), Zone: launch.SystemZone,
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
	if d.inherited == nil {
		d.notifyAtStart()
	} else {
		go d.lookNow(context.WithoutCancel(ctx)) // the last image held files for its jobs
	}
	d.watch.hasSocket(d.cfg.Paths.Socket())
	d.post(func(s *state) { s.lookAt = s.now() + lookEvery })
	srv, in, failed := d.answer(l)
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
			go d.lookNow(context.WithoutCancel(ctx))
			if _, err := d.Reload(ctx, self(), false); err != nil {
				d.log.Error("reload", "error", err)
			}
		case <-d.cfg.UpgradeOn:
			if _, err := d.Upgrade(ctx, self()); err != nil {
				d.log.Error("upgrade", "error", err)
			}
		case <-d.watch.rebind:
			l = d.reopen(l, in)
		case next := <-d.upgrades:
			if err := d.upgrade(ctx, next, srv, l); err != nil {
				return err
			}
			// It could not be done, and the old one goes on.
			srv, in, failed = d.answer(l)
		}
	}
}

// listen opens the socket, or takes the one that the last image listened on, or
// that the service manager opened: that one is the manager's to remove.
func (d *daemon) listen(socket *net.UnixListener) (*net.UnixListener, error) {
	switch {
	case d.inherited != nil:
		d.socketActivated = d.inherited.Activated
		return d.inherited.listener()
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
func (d *daemon) answer(l *net.UnixListener) (*server.Server, *door, <-chan error) {
	srv := server.New(d.backend, server.Options{Log: d.log, Version: d.cfg.Version, MaxConns: d.settings.MaxConnections})
	failed := make(chan error, 1)
	copied, err := duplicate(l)
	if err != nil {
		failed <- err
		return srv, &door{socket: l}, failed
	}
	in := &door{socket: copied}
	go func() {
		if err := srv.Serve(in); err != nil {
			failed <- err
		}
	}()
	return srv, in, failed
}

// reopen makes the socket again, whose name was taken away, and has the server
// accept there. Who is connected stays so.
func (d *daemon) reopen(l *net.UnixListener, in *door) *net.UnixListener {
	path := d.cfg.Paths.Socket()
	next, err := server.Listen(path, d.settings.SocketGroup, 0o660)
	var copied net.Listener
	if err == nil {
		if copied, err = duplicate(next); err != nil {
			_ = next.Close() // else the next look finds a socket that somebody listens on
		}
	}
	more := ""
	if d.socketActivated {
		more = "; restart the service manager's socket unit, which does not know of it"
	}
	d.found(err, "the socket %s was removed or replaced; it is made again%s", path, more)
	if err != nil {
		return l // the next look asks for it again
	}
	in.replace(copied)
	_ = l.Close()
	d.watch.hasSocket(path)
	return next
}

// closeJournal is what a stop does last on the loop. A journal that cannot be
// closed in order is read like one after a crash: that alone is no error, for
// nothing is lost that anybody was told of. Ends that are nowhere but here are
// one.
func closeJournal(s *state) error {
	err := s.journal.Close()
	switch n := s.jobs.Undurable(); {
	case err == nil:
		return nil
	case n > 0:
		return fmt.Errorf("journal close: how %d jobs ended could not be written, the next start knows that only of those with a shim: %w", n, err)
	}
	s.log.Warn("journal: not closed in order; nothing is lost, and the next start reads it as after a crash", "error", err)
	return nil
}

// stop ends the daemon: no new starts, running children told to end, open requests
// answered, the journal closed clean. The loop outlives the server: whoever waits
// for a job gets that job as it is then, and nobody whose notify was accepted is
// told that it was refused.
func (d *daemon) stop(srv *server.Server, l *net.UnixListener) error {
	d.log.Info("stopping")
	d.manager.send("STOPPING=1", "STATUS=stopping; jobs that outlive the daemon go on")
	d.stopRuns()
	d.shutdown(context.Background(), srv)
	var err error
	d.loop.Stop(func(s *state) { err = closeJournal(s) })
	_ = l.Close()
	if path := d.cfg.Paths.Socket(); !d.socketActivated && d.watch.isSocket(path) {
		_ = os.Remove(path)
	}
	if err == nil {
		d.log.Info("stopped")
	}
	return err
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
