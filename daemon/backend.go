package daemon

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// allow asks the rules of access.
func (e *engine) allow(q query) error { return e.cfg.allow(q) }

// permitted does fn on the loop for a peer who may, in one step with the question.
func (e *engine) permitted(ctx context.Context, q query, fn func()) error {
	var denied error
	err := e.do(ctx, func() {
		if denied = e.allow(q); denied == nil {
			fn()
		}
	})
	return orElse(err, denied)
}

// find asks the loop for one job's view, for a peer who may do what verb says
// with it. If the job has ended just now, it waits until it is known whether
// that may be told.
func (e *engine) find(ctx context.Context, verb server.Verb, by ipc.Peer, id string, also func(*store.Job)) (ipc.Job, error) {
	var view ipc.Job
	var err error
	found := make(chan struct{})
	if stopped := e.do(ctx, func() {
		var job *store.Job
		if job, err = e.book.Find(id); err != nil {
			close(found)
			return
		}
		e.whenDecided(queue.ID(job.ID), func() {
			defer close(found)
			job := e.told(job)
			v := e.view(job)
			if err = e.allow(query{verb, by, e.specOf(job.Dispatcher), &v}); err != nil {
				return
			}
			view = v
			if also != nil {
				also(job)
			}
		})
	}); stopped != nil {
		return ipc.Job{}, stopped
	}
	select {
	case <-found:
		return view, err
	case <-e.done:
		return ipc.Job{}, errStopping()
	}
}

// Job gives the job with this id or unique prefix of one.
func (e *engine) Job(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	return e.find(ctx, server.VerbRead, by, id, nil)
}

// Hold gives a job to a caller who may bind its life to his own.
func (e *engine) Hold(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	return e.find(ctx, server.VerbHold, by, id, nil)
}

// Await returns when the job has ended, or when ctx is done with the job as it
// is then.
func (e *engine) Await(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	ended := make(chan struct{})
	view, err := e.find(ctx, server.VerbRead, by, id, func(job *store.Job) {
		if !job.State.Final() {
			key := queue.ID(job.ID)
			e.waiters[key] = append(e.waiters[key], ended)
		}
	})
	if err != nil || view.State.Final() {
		return view, err
	}
	select {
	case <-ended:
	case <-ctx.Done():
		e.leave(view.ID, ended)
	case <-e.done:
		return view, errStopping()
	}
	return e.find(context.WithoutCancel(ctx), server.VerbRead, by, view.ID, nil)
}

// leave takes a client that went away out of the list of waiters.
func (e *engine) leave(id string, ch chan struct{}) {
	e.post(func() {
		job, err := e.book.Find(id)
		if err != nil {
			return
		}
		key := queue.ID(job.ID)
		if i := slices.Index(e.waiters[key], ch); i >= 0 {
			e.waiters[key] = slices.Delete(e.waiters[key], i, i+1)
		}
		if len(e.waiters[key]) == 0 {
			delete(e.waiters, key)
		}
	})
}

// Jobs lists jobs, newest first.
func (e *engine) Jobs(ctx context.Context, by ipc.Peer, f ipc.JobFilter) ([]ipc.Job, error) {
	var views []ipc.Job
	all := make(chan struct{})
	var denied error
	if err := e.do(ctx, func() {
		if denied = e.allow(query{Verb: server.VerbRead, Peer: by}); denied != nil {
			close(all)
			return
		}
		list := e.book.List(f)
		views = make([]ipc.Job, len(list))
		left := len(list)
		if left == 0 {
			close(all)
		}
		for i, job := range list {
			e.whenDecided(queue.ID(job.ID), func() {
				views[i] = e.view(e.told(job))
				if left--; left == 0 {
					close(all)
				}
			})
		}
	}); err != nil {
		return nil, err
	}
	select {
	case <-all:
		return views, denied
	case <-e.done:
		return nil, errStopping()
	}
}

// Log reads a job's output from a byte on, following it while the job runs.
func (e *engine) Log(ctx context.Context, by ipc.Peer, id string, from int64, follow bool) (io.ReadCloser, error) {
	var keep int64
	ended := make(chan struct{})
	var key [16]byte
	view, err := e.find(ctx, server.VerbOutput, by, id, func(job *store.Job) {
		key, keep = job.ID, dispatchers.DefaultMaxOutput
		if spec := e.specOf(job.Dispatcher); spec != nil {
			keep = spec.MaxOutput
		}
		if job.State.Final() || !follow {
			close(ended)
		} else {
			e.waiters[queue.ID(job.ID)] = append(e.waiters[queue.ID(job.ID)], ended)
		}
	})
	if err != nil {
		return nil, err
	}
	if dropped := view.Output.Dropped; dropped > 0 {
		keep = view.Output.Bytes - dropped // as it was kept, whatever the definition says now
	}
	log, err := e.dir.ReadLog(ctx, key, from, keep, ended)
	if err != nil {
		e.leave(view.ID, ended)
		return nil, err
	}
	return followed{log, func() { e.leave(view.ID, ended) }}, nil
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
func (e *engine) Cancel(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	return e.cancel(ctx, server.VerbCancel, by, id, func(*store.Job) bool { return false })
}

// CancelIfAbandoned ends a job whose holder went away. One that others have
// joined is theirs too, and goes on; so does one that has ended.
func (e *engine) CancelIfAbandoned(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	return e.cancel(ctx, server.VerbHold, by, id, func(job *store.Job) bool { return job.State.Final() || job.Coalesced > 0 })
}

// cancel ends a job that is not to be spared. Whether it is, is decided in the
// step that ends it: nobody can join or end it in between.
func (e *engine) cancel(ctx context.Context, verb server.Verb, by ipc.Peer, id string, spared func(*store.Job) bool) (ipc.Job, error) {
	var refuse error
	view, err := e.find(ctx, verb, by, id, func(job *store.Job) {
		if spared(job) {
			return
		}
		if job.State.Final() {
			p := ipc.Errorf(ipc.KindStateConflict, "job %s has ended already (%s)", job.ID, job.State)
			p.Job, p.Suggestion = job.ID.String(), "nothing to do"
			refuse = p
			return
		}
		if r := e.runs[queue.ID(job.ID)]; r != nil && r.spec.KillMode.Never() {
			p := ipc.Errorf(ipc.KindStateConflict, "job %s runs, and the kill_mode of %s is none: it must not be killed", job.ID, job.Dispatcher)
			p.Job, p.Suggestion = job.ID.String(), "wait for its end"
			refuse = p
			return
		}
		e.log.Info("cancel", "job", job.ID.String(), "dispatcher", job.Dispatcher, "uid", by.UID, "pid", by.PID)
		e.decide(e.core.Cancel(e.now(), queue.ID(job.ID)))
	})
	if err != nil || refuse != nil {
		return view, orElse(err, refuse)
	}
	return e.find(ctx, verb, by, view.ID, nil)
}

// Retry asks for a new job with the dispatcher and arguments of an ended one.
func (e *engine) Retry(ctx context.Context, by ipc.Peer, id, key string) (ipc.Notified, error) {
	view, err := e.find(ctx, server.VerbRetry, by, id, nil)
	if err != nil {
		return ipc.Notified{}, err
	}
	if !view.State.Final() {
		p := ipc.Errorf(ipc.KindStateConflict, "job %s has not ended yet (%s)", view.ID, view.State)
		p.Job, p.Suggestion = view.ID, "wait for its end, or notify "+view.Dispatcher+" once more"
		return ipc.Notified{}, p
	}
	return e.Notify(ctx, by, ipc.NotifyRequest{Dispatcher: view.Dispatcher, Arguments: view.Arguments, IdempotencyKey: key})
}

// Dispatchers lists all dispatchers, disabled ones too, by name.
func (e *engine) Dispatchers(ctx context.Context, by ipc.Peer) ([]ipc.Dispatcher, error) {
	list := []ipc.Dispatcher{}
	err := e.permitted(ctx, query{Verb: server.VerbRead, Peer: by}, func() {
		for _, name := range e.catalog.Load().Names() {
			d := e.dispatcher(name)
			d.Definition = nil
			list = append(list, d)
		}
	})
	return list, err
}

// Dispatcher gives one dispatcher with its whole definition.
func (e *engine) Dispatcher(ctx context.Context, by ipc.Peer, name string) (ipc.Dispatcher, error) {
	var d ipc.Dispatcher
	spec, err := e.lookup(name)
	if err != nil && !isKind(err, ipc.KindDispatcherDisabled) {
		return d, err
	}
	if denied := e.permitted(ctx, query{Verb: server.VerbRead, Peer: by, Dispatcher: spec}, func() { d = e.dispatcher(name) }); denied != nil || spec == nil {
		return d, denied
	}
	d.Problems = e.build.Problems(ctx, spec)
	return d, nil
}

// Pause holds a dispatcher's jobs, or lets them go on. It outlives restarts.
func (e *engine) Pause(ctx context.Context, by ipc.Peer, name string, paused bool) (ipc.Dispatcher, error) {
	spec, err := e.lookup(name)
	if err != nil {
		return ipc.Dispatcher{}, err
	}
	rec := store.Record{Op: store.OpResume, At: time.Now().UnixNano(), Dispatcher: name}
	if paused {
		rec.Op = store.OpPause
	}
	durable := make(chan error, 1)
	var d ipc.Dispatcher
	err = e.permitted(ctx, query{Verb: server.VerbPause, Peer: by, Dispatcher: spec}, func() {
		e.log.Info(string(rec.Op), "dispatcher", name, "uid", by.UID, "pid", by.PID)
		if _, err := e.book.Apply(rec); err != nil {
			durable <- err
			return
		}
		e.journal.Append(rec, e.settings.Durability, true, func(err error) { durable <- err })
		e.perform(e.core.Pause(e.now(), name, paused))
		d = e.dispatcher(name)
	})
	if err != nil {
		return d, err
	}
	if err := <-durable; err != nil {
		return d, e.unavailable(err)
	}
	return d, nil
}

// Locks lists every lock that is held or waited for.
func (e *engine) Locks(ctx context.Context, by ipc.Peer) ([]ipc.Lock, error) {
	list := []ipc.Lock{}
	err := e.permitted(ctx, query{Verb: server.VerbRead, Peer: by}, func() {
		for _, l := range e.core.Locks(e.now()) {
			list = append(list, e.lockView(l))
		}
	})
	return list, err
}

// Status is the daemon at a glance.
func (e *engine) Status(ctx context.Context, by ipc.Peer) (ipc.Status, error) {
	s := ipc.Status{
		Version: e.cfg.Version, PID: os.Getpid(), StartedAt: e.epoch.UTC(), Root: e.cfg.Paths.Root,
		Directories: e.cfg.Paths,
		Durability:  string(e.settings.Durability), Volatile: e.dir.Volatile(), Journal: "ok", Disabled: []string{}, Paused: []string{},
	}
	err := e.permitted(ctx, query{Verb: server.VerbStatus, Peer: by}, func() {
		c := e.catalog.Load()
		s.Draining, s.History, s.Counters = e.draining, e.book.History(), e.total
		s.Queued, s.Running = e.core.Counts()
		s.Dispatchers = len(c.Specs)
		s.Disabled = append(s.Disabled, slices.Sorted(maps.Keys(c.Disabled))...)
		s.Paused = append(s.Paused, e.book.Paused()...)
		s.Warnings = append([]string{}, e.warnings...)
		for _, f := range c.Unlisted {
			s.Warnings = append(s.Warnings, "definitions that cannot be read: "+f.Error())
		}
		if e.journalErr != nil {
			s.Journal = e.journalErr.Error()
		}
	})
	if err != nil {
		return ipc.Status{}, err
	}
	return s, nil
}

// Health says ok when the loop answers and the journal can be written.
func (e *engine) Health(ctx context.Context, by ipc.Peer) (ipc.Health, error) {
	var h ipc.Health
	err := e.permitted(ctx, query{Verb: server.VerbHealth, Peer: by}, func() {
		h = ipc.Health{Status: "ok"}
		if e.journalErr != nil {
			h = ipc.Health{Status: "degraded", Detail: "journal: " + e.journalErr.Error()}
		}
	})
	return h, err
}

// Drain refuses new jobs while on; those accepted run to their end.
func (e *engine) Drain(ctx context.Context, by ipc.Peer, on bool) (ipc.Status, error) {
	verb := server.VerbUndrain
	if on {
		verb = server.VerbDrain
	}
	err := e.permitted(ctx, query{Verb: verb, Peer: by}, func() {
		e.log.Info("drain", "on", on, "uid", by.UID, "pid", by.PID)
		e.draining = on
		e.core.Drain(on)
	})
	if err != nil {
		return ipc.Status{}, err
	}
	return e.Status(ctx, by)
}

// AwaitIdle returns when no job is queued or running, or when ctx is done.
func (e *engine) AwaitIdle(ctx context.Context, by ipc.Peer) error {
	if err := e.allow(query{Verb: server.VerbDrain, Peer: by}); err != nil {
		return err
	}
	idle, err := e.until(ctx, e.idle)
	if err != nil {
		return err
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-e.done:
		return errStopping()
	}
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
