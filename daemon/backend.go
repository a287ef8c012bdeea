package daemon

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/singleflight"

	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// backend is the daemon as the API sees it: each method asks the loop, and waits
// for what may be told.
type backend struct {
	*host
	refreshes singleflight.Group // readers of a cache who want newer data at the same time
	upgrades  chan struct{}      // has one begun; a second request finds the first under way
}

// allow asks the rules of access.
func (h *host) allow(q query) error { return h.cfg.allow(q) }

// permitted does fn on the loop for a peer who may, in one step with the question.
func (b *backend) permitted(ctx context.Context, q query, fn func(*state)) error {
	var denied error
	err := b.do(ctx, func(s *state) {
		if denied = s.allow(q); denied == nil {
			fn(s)
		}
	})
	return orElse(err, denied)
}

// find asks the loop for one job's view, for a peer who may do what verb says
// with it. If the job has ended just now, it waits until it is known whether
// that may be told.
func (b *backend) find(ctx context.Context, verb server.Verb, by ipc.Peer, id string, also func(*state, *store.Job)) (ipc.Job, error) {
	var view ipc.Job
	var err error
	found := make(chan struct{})
	if stopped := b.do(ctx, func(s *state) {
		var job *store.Job
		if job, err = s.book.Find(id); err != nil {
			err = suggested(err)
			close(found)
			return
		}
		s.whenDecided(queue.ID(job.ID), func() {
			defer close(found)
			job := s.told(job)
			v := s.view(job)
			if err = s.allow(query{verb, by, s.specOf(job.Dispatcher), &v}); err != nil {
				return
			}
			view = v
			if also != nil {
				also(s, job)
			}
		})
	}); stopped != nil {
		return ipc.Job{}, stopped
	}
	if _, stopped := await(b.host, found); stopped != nil {
		return ipc.Job{}, stopped
	}
	return view, err
}

// Job gives the job with this id or unique prefix of one.
func (b *backend) Job(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	return b.find(ctx, server.VerbRead, by, id, nil)
}

// Hold gives a job to a caller who may bind its life to his own.
func (b *backend) Hold(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	return b.find(ctx, server.VerbHold, by, id, nil)
}

// Await returns when the job has ended, or when ctx is done with the job as it
// is then.
func (b *backend) Await(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	ended := make(chan struct{})
	view, err := b.find(ctx, server.VerbRead, by, id, func(s *state, job *store.Job) {
		if !job.State.Final() {
			key := queue.ID(job.ID)
			s.waiters[key] = append(s.waiters[key], ended)
		}
	})
	if err != nil || view.State.Final() {
		return view, err
	}
	select {
	case <-ended:
	case <-ctx.Done():
		b.leave(view.ID, ended)
	case <-b.loop.Stopping():
		return view, errStopping()
	}
	return b.find(context.WithoutCancel(ctx), server.VerbRead, by, view.ID, nil)
}

// suggested says what to type next about an id that leads to no job.
func suggested(err error) error {
	if p, ok := errors.AsType[*ipc.Error](err); ok {
		switch p.Kind {
		case ipc.KindJobUnknown:
			p.Suggestion = "see: dispatchctl jobs"
		case ipc.KindJobAmbiguous:
			p.Suggestion = "give more of it"
		}
	}
	return err
}

// leave takes a client that went away out of the list of waiters.
func (b *backend) leave(id string, ch chan struct{}) {
	b.post(func(s *state) {
		job, err := s.book.Find(id)
		if err != nil {
			return
		}
		key := queue.ID(job.ID)
		if i := slices.Index(s.waiters[key], ch); i >= 0 {
			s.waiters[key] = slices.Delete(s.waiters[key], i, i+1)
		}
		if len(s.waiters[key]) == 0 {
			delete(s.waiters, key)
		}
	})
}

// Jobs lists jobs, newest first.
func (b *backend) Jobs(ctx context.Context, by ipc.Peer, f ipc.JobFilter) ([]ipc.Job, error) {
	var views []ipc.Job
	all := make(chan struct{})
	var denied error
	if err := b.do(ctx, func(s *state) {
		if denied = s.allow(query{Verb: server.VerbRead, Peer: by}); denied != nil {
			close(all)
			return
		}
		list := s.book.List(f)
		views = make([]ipc.Job, len(list))
		left := len(list)
		if left == 0 {
			close(all)
		}
		for i, job := range list {
			s.whenDecided(queue.ID(job.ID), func() {
				views[i] = s.view(s.told(job))
				if left--; left == 0 {
					close(all)
				}
			})
		}
	}); err != nil {
		return nil, err
	}
	if _, err := await(b.host, all); err != nil {
		return nil, err
	}
	return views, denied
}

// Log reads a job's output from a byte on, following it while the job runs.
func (b *backend) Log(ctx context.Context, by ipc.Peer, id string, from int64, follow bool) (io.ReadCloser, error) {
	var keep int64
	ended := make(chan struct{})
	var key [16]byte
	view, err := b.find(ctx, server.VerbOutput, by, id, func(s *state, job *store.Job) {
		key, keep = job.ID, dispatchers.DefaultMaxOutput
		if spec := s.specOf(job.Dispatcher); spec != nil {
			keep = spec.MaxOutput
		}
		if job.State.Final() || !follow {
			close(ended)
		} else {
			s.waiters[queue.ID(job.ID)] = append(s.waiters[queue.ID(job.ID)], ended)
		}
	})
	if err != nil {
		return nil, err
	}
	if dropped := view.Output.Dropped; dropped > 0 {
		keep = view.Output.Bytes - dropped // as it was kept, whatever the definition says now
	}
	log, err := b.dir.ReadLog(ctx, key, from, keep, ended)
	if err != nil {
		b.leave(view.ID, ended)
		return nil, err
	}
	return followed{log, func() { b.leave(view.ID, ended) }}, nil
}

// followed is a log whose reader leaves the job's waiters when it goes away.
type followed struct {
	io.ReadCloser
	leave func()
}

// Close ends the reading.
func (f followed) Close() error {
	f.leave()
	return f.ReadCloser.Close()
}

// Cancel ends a job: a queued one at once, a running one by its kill_mode.
func (b *backend) Cancel(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	return b.cancel(ctx, server.VerbCancel, by, id, func(*store.Job) bool { return false })
}

// CancelIfAbandoned ends a job whose holder went away. One that others have
// joined is theirs too, and goes on; so does one that has ended.
func (b *backend) CancelIfAbandoned(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	return b.cancel(ctx, server.VerbHold, by, id, func(job *store.Job) bool { return job.State.Final() || job.Coalesced > 0 })
}

// cancel ends a job that is not to be spared. Whether it is, is decided in the
// step that ends it: nobody can join or end it in between.
func (b *backend) cancel(ctx context.Context, verb server.Verb, by ipc.Peer, id string, spared func(*store.Job) bool) (ipc.Job, error) {
	var refuse error
	view, err := b.find(ctx, verb, by, id, func(s *state, job *store.Job) {
		if spared(job) {
			return
		}
		if job.State.Final() {
			p := ipc.Errorf(ipc.KindStateConflict, "job %s has ended already (%s)", job.ID, job.State)
			p.Job, p.Suggestion = job.ID.String(), "nothing to do"
			refuse = p
			return
		}
		if r := s.runs[queue.ID(job.ID)]; r != nil && r.Spec.KillMode.Never() {
			p := ipc.Errorf(ipc.KindStateConflict, "job %s runs, and the kill_mode of %s is none: it must not be killed", job.ID, job.Dispatcher)
			p.Job, p.Suggestion = job.ID.String(), "wait for its end"
			refuse = p
			return
		}
		b.log.Info("cancel", "job", job.ID.String(), "dispatcher", job.Dispatcher, "uid", by.UID, "pid", by.PID)
		s.decide(s.core.Cancel(b.now(), queue.ID(job.ID)))
	})
	if err != nil || refuse != nil {
		return view, orElse(err, refuse)
	}
	return b.find(ctx, verb, by, view.ID, nil)
}

// Retry asks for a new job with the dispatcher and arguments of an ended one.
func (b *backend) Retry(ctx context.Context, by ipc.Peer, id, key string) (ipc.Notified, error) {
	view, err := b.find(ctx, server.VerbRetry, by, id, nil)
	if err != nil {
		return ipc.Notified{}, err
	}
	if !view.State.Final() {
		p := ipc.Errorf(ipc.KindStateConflict, "job %s has not ended yet (%s)", view.ID, view.State)
		p.Job, p.Suggestion = view.ID, "wait for its end, or notify "+view.Dispatcher+" once more"
		return ipc.Notified{}, p
	}
	return b.Notify(ctx, by, ipc.NotifyRequest{Dispatcher: view.Dispatcher, Arguments: view.Arguments, IdempotencyKey: key})
}

// Dispatchers lists all dispatchers, disabled ones too, by name.
func (b *backend) Dispatchers(ctx context.Context, by ipc.Peer) ([]ipc.Dispatcher, error) {
	list := []ipc.Dispatcher{}
	err := b.permitted(ctx, query{Verb: server.VerbRead, Peer: by}, func(s *state) {
		for _, name := range s.catalog.Load().Names() {
			d := s.dispatcher(name)
			d.Definition = nil
			list = append(list, d)
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
	if denied := b.permitted(ctx, query{Verb: server.VerbRead, Peer: by, Dispatcher: spec}, func(s *state) { d = s.dispatcher(name) }); denied != nil || spec == nil {
		return d, denied
	}
	d.Problems = b.build.Problems(ctx, spec)
	return d, nil
}

// Pause holds a dispatcher's jobs, or lets them go on. It outlives restarts.
func (b *backend) Pause(ctx context.Context, by ipc.Peer, name string, paused bool) (ipc.Dispatcher, error) {
	spec, err := b.lookup(name)
	if err != nil {
		return ipc.Dispatcher{}, err
	}
	rec := store.Record{Op: store.OpResume, At: time.Now().UnixNano(), Dispatcher: name}
	if paused {
		rec.Op = store.OpPause
	}
	durable := make(chan error, 1)
	var d ipc.Dispatcher
	err = b.permitted(ctx, query{Verb: server.VerbPause, Peer: by, Dispatcher: spec}, func(s *state) {
		s.log.Info(string(rec.Op), "dispatcher", name, "uid", by.UID, "pid", by.PID)
		if _, err := s.book.Apply(rec); err != nil {
			durable <- err
			return
		}
		s.journal.Append(rec, s.settings.Durability, true, func(err error) { durable <- err })
		s.perform(s.core.Pause(s.now(), name, paused))
		d = s.dispatcher(name)
	})
	if err != nil {
		return d, err
	}
	if err := <-durable; err != nil {
		return d, b.unavailable(err)
	}
	return d, nil
}

// Locks lists every lock that is held or waited for.
func (b *backend) Locks(ctx context.Context, by ipc.Peer) ([]ipc.Lock, error) {
	list := []ipc.Lock{}
	err := b.permitted(ctx, query{Verb: server.VerbRead, Peer: by}, func(s *state) {
		for _, l := range s.core.Locks(s.now()) {
			list = append(list, s.lockView(l))
		}
	})
	return list, err
}

// Status is the daemon at a glance.
func (b *backend) Status(ctx context.Context, by ipc.Peer) (ipc.Status, error) {
	v := ipc.Status{
		Version: b.cfg.Version, PID: os.Getpid(), StartedAt: b.epoch.UTC(), Root: b.cfg.Paths.Root,
		Directories: b.cfg.Paths,
		Durability:  string(b.settings.Durability), Volatile: b.dir.Volatile(), Journal: "ok", Disabled: []string{}, Paused: []string{},
	}
	err := b.permitted(ctx, query{Verb: server.VerbStatus, Peer: by}, func(s *state) {
		c := s.catalog.Load()
		v.Draining, v.History, v.Counters = s.draining, s.book.History(), s.total
		v.Queued, v.Running = s.core.Counts()
		v.Dispatchers = len(c.Specs)
		v.Disabled = append(v.Disabled, slices.Sorted(maps.Keys(c.Disabled))...)
		v.Paused = append(v.Paused, s.book.Paused()...)
		v.Warnings = append([]string{}, s.warnings...)
		for _, f := range c.Unlisted {
			v.Warnings = append(v.Warnings, "definitions that cannot be read: "+f.Error())
		}
		if s.journalErr != nil {
			v.Journal = s.journalErr.Error()
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
	err := b.permitted(ctx, query{Verb: server.VerbHealth, Peer: by}, func(s *state) {
		h = ipc.Health{Status: "ok"}
		if s.journalErr != nil {
			h = ipc.Health{Status: "degraded", Detail: "journal: " + s.journalErr.Error()}
		}
	})
	return h, err
}

// Drain refuses new jobs while on; those accepted run to their end.
func (b *backend) Drain(ctx context.Context, by ipc.Peer, on bool) (ipc.Status, error) {
	verb := server.VerbUndrain
	if on {
		verb = server.VerbDrain
	}
	err := b.permitted(ctx, query{Verb: verb, Peer: by}, func(s *state) {
		s.log.Info("drain", "on", on, "uid", by.UID, "pid", by.PID)
		s.draining = on
		s.core.Drain(on)
	})
	if err != nil {
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

// isKind reports whether err is an ipc.Error of a kind.
func isKind(err error, k ipc.Kind) bool {
	p, ok := errors.AsType[*ipc.Error](err)
	return ok && p.Kind == k
}

// orElse is the first error that is one.
func orElse(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
