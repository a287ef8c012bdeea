package daemon

import (
	"cmp"
	"context"
	"maps"
	"os"
	"slices"
	"time"

	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// Dispatchers lists all dispatchers, disabled ones too, by name.
func (b *backend) Dispatchers(ctx context.Context, by ipc.Peer) ([]ipc.Dispatcher, error) {
	list := []ipc.Dispatcher{}
	err := b.permitted(ctx, query{Verb: server.VerbRead, Peer: by}, func(s *state) {
		for _, name := range s.catalog.Load().Names() {
			list = append(list, viewing(s).dispatcher(name))
		}
	})
	return list, err
}

// Dispatcher gives one dispatcher with its whole definition.
func (b *backend) Dispatcher(ctx context.Context, by ipc.Peer, name string) (ipc.Dispatcher, error) {
	var d ipc.Dispatcher
	spec, err := b.lookup(name)
	if err != nil && !isKind(err, ipc.KindDispatcherDisabled) {
		return d, err
	}
	if denied := b.permitted(ctx, query{Verb: server.VerbRead, Peer: by, Dispatcher: spec}, func(s *state) { d = viewing(s).defined(name) }); denied != nil || spec == nil {
		return d, denied
	}
	d.Problems = b.build.Problems(ctx, spec)
	return d, nil
}

// Pause holds a dispatcher's jobs, or lets them go on. It outlives restarts.
func (b *backend) Pause(ctx context.Context, by ipc.Peer, name string, paused bool) (ipc.Dispatcher, error) {
	spec, unknown := b.lookup(name)
	rec := store.Record{Op: store.OpResume, At: time.Now().UnixNano(), Dispatcher: name}
	if paused {
		rec.Op = store.OpPause
	}
	durable := make(chan error, 1)
	var d ipc.Dispatcher
	var refuse error
	err := b.permitted(ctx, query{Verb: server.VerbPause, Peer: by, Dispatcher: spec}, func(s *state) {
		// One whose file was removed is resumed as long as it is paused or has jobs.
		known := s.jobs.Dispatcher(name)
		if unknown != nil && (known == nil || !known.Paused && known.Idle()) {
			refuse = unknown
			return
		}
		s.log.Info(string(rec.Op), "dispatcher", name, "uid", by.UID, "pid", by.PID)
		if _, ok := s.record(rec, s.settings.Durability, true, func(err error) { durable <- err }); !ok {
			durable <- ipc.Errorf(ipc.KindInternal, "the %s of %s cannot be recorded; see the daemon's log", rec.Op, name)
			return
		}
		performing(s).perform(s.core.Pause(s.now(), name, paused)) // without a definition it is held all the same
		d = viewing(s).defined(name)
	})
	if err = cmp.Or(err, refuse); err != nil {
		return d, err
	}
	return d, b.recorded(durable)
}

// recorded waits until what a request had written down is durable.
func (b *backend) recorded(durable <-chan error) error {
	failed, err := await(b.host, durable)
	if err == nil && failed != nil {
		return b.unavailable(failed)
	}
	return err
}

// Locks lists every lock that is held or waited for.
func (b *backend) Locks(ctx context.Context, by ipc.Peer) ([]ipc.Lock, error) {
	list := []ipc.Lock{}
	err := b.permitted(ctx, query{Verb: server.VerbRead, Peer: by}, func(s *state) {
		for _, l := range s.core.Locks(s.now()) {
			list = append(list, viewing(s).lockView(l))
		}
	})
	return list, err
}

// Status is the daemon at a glance.
func (b *backend) Status(ctx context.Context, by ipc.Peer) (ipc.Status, error) {
	v := ipc.Status{
		Version: b.cfg.Version, PID: os.Getpid(), StartedAt: b.epoch.UTC(), Root: b.cfg.Paths.Root,
		Directories: b.cfg.Paths,
		Durability:  string(b.settings.Durability), Volatile: b.dir.Volatile(), Journal: "ok", Starts: cmp.Or(b.lack(nil, 0), "ok"), Disabled: []string{}, Paused: []string{},
	}
	if err := b.allow(query{Verb: server.VerbStatus, Peer: by}); err != nil {
		return ipc.Status{}, err
	}
	b.lookNow(ctx)
	err := b.permitted(ctx, query{Verb: server.VerbStatus, Peer: by}, func(s *state) {
		c := s.catalog.Load()
		v.Draining, v.DrainedBy, v.History, v.Counters = s.core.Draining(), s.jobs.Drain, s.jobs.History(), s.jobs.Total
		v.Queued, v.Running = s.core.Counts()
		v.Arguments, v.Keys = s.usage()
		v.Dispatchers = len(c.Specs)
		v.Disabled = append(v.Disabled, slices.Sorted(maps.Keys(c.Disabled))...)
		v.Paused = append(v.Paused, s.jobs.Paused()...)
		v.Warnings = append([]string{}, s.warnings...)
		v.Warnings = append(v.Warnings, s.watch.told(time.Now())...)
		for d := range s.jobs.Dispatchers() {
			if _, bad := c.Broken(d.Name); !bad && d.Spec == nil && !d.Idle() {
				v.Warnings = append(v.Warnings, "jobs of dispatcher "+d.Name+" wait: "+noDefinition)
			}
		}
		for _, f := range c.Unlisted {
			v.Warnings = append(v.Warnings, "definitions that cannot be read: "+f.Error())
		}
		if _, err := s.planner.LocalZone(); err != nil {
			v.Warnings = append(v.Warnings, "the machine's time zone: "+err.Error())
		}
		v.OpenOutputs = s.openOutputs()
		if err := s.journal.Err(); err != nil {
			v.Journal = err.Error()
		}
	})
	if err != nil {
		return ipc.Status{}, err
	}
	return v, nil
}

// Health says ok when the loop answers and the journal can be written.
func (b *backend) Health(ctx context.Context, by ipc.Peer) (ipc.Health, error) {
	var h ipc.Health
	lack := b.lack(nil, 0)
	err := b.permitted(ctx, query{Verb: server.VerbHealth, Peer: by}, func(s *state) {
		h = ipc.Health{Status: "ok"}
		if lack != "" {
			h = ipc.Health{Status: "degraded", Detail: "starts are put off: " + lack}
		}
		if err := s.journal.Err(); err != nil {
			h = ipc.Health{Status: "degraded", Detail: "journal: " + err.Error()}
		}
	})
	return h, err
}

// Drain refuses new jobs while on; those accepted run to their end. It outlives
// restarts, as a pause does: a daemon that crashes while it is drained must not take
// jobs again by itself.
func (b *backend) Drain(ctx context.Context, by ipc.Peer, on bool) (ipc.Status, error) {
	verb := server.VerbUndrain
	if on {
		verb = server.VerbDrain
	}
	durable := make(chan error, 1)
	err := b.permitted(ctx, query{Verb: verb, Peer: by}, func(s *state) {
		if on == s.core.Draining() {
			durable <- nil
			return
		}
		s.log.Info("drain", "on", on, "uid", by.UID, "pid", by.PID)
		performing(s).drain(by, on, func(err error) { durable <- err })
	})
	if err != nil {
		return ipc.Status{}, err
	}
	if err := b.recorded(durable); err != nil {
		return ipc.Status{}, err
	}
	return b.Status(ctx, by)
}

// AwaitIdle returns when no job is queued or running, or when ctx is done.
func (b *backend) AwaitIdle(ctx context.Context, by ipc.Peer) error {
	if err := b.allow(query{Verb: server.VerbDrain, Peer: by}); err != nil {
		return err
	}
	return b.until(ctx, (*state).idle)
}
