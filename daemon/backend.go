package daemon

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// backend is the daemon as the API sees it: each method asks the loop, and waits
// for what may be told.
type backend struct {
	*host
	upgrades chan successor // has one begun; a second request finds the first under way
}

// successor is what is known of the next image.
type successor struct{ takesOutput bool }

// permitted does fn on the loop for a peer who may, in one step with the question.
func (b *backend) permitted(ctx context.Context, q query, fn func(*state)) error {
	var denied error
	err := b.do(ctx, func(s *state) {
		if denied = s.allow(q); denied == nil {
			fn(s)
		}
	})
	return cmp.Or(err, denied)
}

// find asks the loop for one job's view, for a peer who may do what verb says
// with it. If the job has ended just now, it waits until it is known whether
// that may be told.
func (b *backend) find(ctx context.Context, verb server.Verb, by ipc.Peer, id string, also func(*state, *jobs.Job)) (ipc.Job, error) {
	var view ipc.Job
	var err error
	found := make(chan struct{})
	if stopped := b.do(ctx, func(s *state) {
		var job *jobs.Job
		if job, err = s.jobs.Find(id); err != nil {
			err = suggested(err)
			close(found)
			return
		}
		viewing(s).whenDecided(job, func() {
			defer close(found)
			v := viewing(s).view(job)
			if err = s.allow(query{verb, by, specOf(job), &v}); err != nil {
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

// Job gives the job with this id or unique prefix of one.
func (b *backend) Job(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	return b.find(ctx, server.VerbRead, by, id, nil)
}

// Hold gives a job to a caller who may bind its life to his own.
func (b *backend) Hold(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	return b.find(ctx, server.VerbHold, by, id, nil)
}

// Await returns when the job has ended, or when ctx is done or the loop ends with
// the job as it is known then. Whatever ends the wait is no error: the job was
// accepted, and a caller who hears of an error asks for it once more.
func (b *backend) Await(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	var ended <-chan struct{}
	asking := context.WithoutCancel(ctx) // a wait that is over before it began is answered too
	view, err := b.find(asking, server.VerbRead, by, id, func(_ *state, job *jobs.Job) { ended = job.AwaitEnd() })
	if err != nil || view.State.Final() {
		return view, err
	}
	select {
	case <-ended:
	case <-ctx.Done():
	case <-b.loop.Stopping():
	}
	last, err := b.find(asking, server.VerbRead, by, view.ID, nil)
	if isKind(err, ipc.KindDraining) { // the loop has ended
		return view, nil
	}
	return last, err
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
		list := piece(s.jobs.List(f), f)
		views = make([]ipc.Job, len(list))
		left := len(list)
		if left == 0 {
			close(all)
		}
		for i, job := range list {
			viewing(s).whenDecided(job, func() {
				views[i] = listed(viewing(s).view(job), f)
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

// pieceBytes is how much of arguments and results one list has, unless a single job
// has more.
const pieceBytes = 64 << 10

// piece cuts a list of jobs with large fields.
func piece(list []*jobs.Job, f ipc.JobFilter) []*jobs.Job {
	bytes := 0
	for i, job := range list {
		st := job.Told()
		if f.Wants("arguments") {
			bytes += len(st.Arguments)
		}
		if st.Run != nil && f.Wants("result") {
			bytes += len(st.Run.Result)
		}
		if bytes > pieceBytes {
			return list[:i+1]
		}
	}
	return list
}

// listed is a job as a list has it.
func listed(v ipc.Job, f ipc.JobFilter) ipc.Job {
	if !f.Wants("arguments") {
		v.Arguments = nil
	}
	if !f.Wants("result") {
		v.Result = nil
	}
	return v
}

// Log reads a job's output from a byte on, following it while the job runs.
func (b *backend) Log(ctx context.Context, by ipc.Peer, id string, from int64, follow bool) (io.ReadCloser, error) {
	var key ulid.ULID
	var q store.LogQuery
	_, err := b.find(ctx, server.VerbOutput, by, id, func(_ *state, job *jobs.Job) {
		key = job.ID()
		q = logQuery(job, from)
		if follow {
			q.Ended = job.AwaitEnd()
		}
	})
	if err != nil {
		return nil, err
	}
	if q.Ended == nil {
		over := make(chan struct{})
		close(over)
		q.Ended = over
	}
	return b.dir.ReadLog(ctx, key, q), nil
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
	view, err := b.find(ctx, verb, by, id, func(s *state, job *jobs.Job) {
		if spared(job.Told()) {
			return
		}
		if refuse = notCancelable(job); refuse != nil {
			return
		}
		s.log.Info("cancel", "job", job.ID().String(), "dispatcher", job.Dispatcher.Name, "uid", by.UID, "pid", by.PID)
		if !job.State().State.Final() { // else it is over, and that cannot be written
			performing(s).decide(s.core.Cancel(s.now(), queue.ID(job.ID())))
		}
	})
	if err != nil || refuse != nil {
		return view, cmp.Or(err, refuse)
	}
	return b.find(ctx, verb, by, view.ID, nil)
}

// notCancelable says why a job cannot be canceled, nil = it can.
func notCancelable(job *jobs.Job) error {
	id := job.ID().String()
	var p *ipc.Error
	switch told := job.Told(); {
	case told.State.Final():
		p = ipc.Errorf(ipc.KindStateConflict, "job %s has ended already (%s)", id, told.State)
		p.Suggestion = "nothing to do"
	case job.Attempt != nil && job.Spec.KillMode.Never():
		p = ipc.Errorf(ipc.KindStateConflict, "job %s runs, and the kill_mode of %s is none: it must not be killed", id, job.Dispatcher.Name)
		p.Suggestion = "wait for its end"
	default:
		return nil
	}
	p.Job = id
	return p
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
	if slices.Contains(view.Omitted, "arguments") {
		p := ipc.Errorf(ipc.KindStateConflict, "the history has no longer the arguments of job %s: they were large", view.ID)
		p.Job, p.Suggestion = view.ID, "notify "+view.Dispatcher+" with its arguments once more"
		return ipc.Notified{}, p
	}
	return b.Notify(ctx, by, ipc.NotifyRequest{Dispatcher: view.Dispatcher, Arguments: view.Arguments, IdempotencyKey: key})
}
