package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// submission is a checked notify on its way to the loop.
type submission struct {
	spec   *dispatchers.Spec
	args   json.RawMessage
	locks  []queue.Lock
	argKey string
	hash   string
	by     ipc.Notifier
	origin ipc.Origin
	key    string
	cursor *store.Cursor // of the schedule whose due time this is, nil = somebody asked
}

// answer is what a notify gets once it is durable.
type answer struct {
	notified ipc.Notified
	err      error
}

// Notify accepts one run of a dispatcher, or joins it to a queued one. It
// returns when the acceptance is durable.
func (b *backend) Notify(ctx context.Context, by ipc.Peer, req ipc.NotifyRequest) (ipc.Notified, error) {
	spec, err := b.lookup(req.Dispatcher)
	if err != nil {
		return ipc.Notified{}, err
	}
	// Before anything of the request is checked: what is wrong with it is not for
	// everybody to hear. The loop asks again, with what is in force then.
	if err := b.allow(query{Verb: server.VerbNotify, Peer: by, Dispatcher: spec}); err != nil {
		return ipc.Notified{}, err
	}
	sub, err := b.check(ctx, spec, req)
	if err != nil {
		b.post(func(s *state) { s.count(spec.Name, refused) })
		return ipc.Notified{}, err
	}
	sub.by = ipc.Notifier{Peer: by, At: time.Now().UTC()}
	reply := make(chan answer, 1)
	if err := b.loop.Send(ctx, func(s *state) { admitting(s).submit(sub, func(a answer) { reply <- a }) }); err != nil {
		return ipc.Notified{}, stopped(err)
	}
	// From here on the job may be accepted: a client that goes away does not
	// undo that, so only the answer or the daemon's end is waited for.
	a, err := await(b.host, reply)
	if err != nil {
		return ipc.Notified{}, err
	}
	return a.notified, a.err
}

// check does everything of a notify that needs no loop.
func (h *host) check(ctx context.Context, spec *dispatchers.Spec, req ipc.NotifyRequest) (submission, error) {
	sub := submission{spec: spec, origin: req.Origin, key: req.IdempotencyKey}
	if sub.origin == "" {
		sub.origin = ipc.OriginNotify
	}
	if len(req.Arguments) > bulky {
		h.bulky.Lock()
		defer h.bulky.Unlock()
	}
	if len(req.Arguments) > 0 {
		args, err := spec.ValidateArguments(req.Arguments)
		if err != nil {
			return sub, err
		}
		sub.args = args
	}
	locks, err := spec.Locks(sub.args)
	if err != nil {
		return sub, err
	}
	sub.locks = coreLocks(locks)
	sub.argKey = joinKey(spec, sub.args)
	if sub.key != "" {
		sum := sha256.Sum256([]byte(spec.Canonical(sub.args)))
		sub.hash = hex.EncodeToString(sum[:16])
	}
	return sub, h.build.Check(ctx, spec)
}

// admission lets jobs in: the same door for clients, schedules and caches.
type admission struct{ performer }

// admitting gives the admission of the state.
func admitting(s *state) admission { return admission{performing(s)} }

// submit is the loop's part of a notify: same key, decision, record, journal.
func (s admission) submit(sub submission, reply func(answer)) {
	if s.stopping {
		reply(answer{err: errStopping()})
		return
	}
	if err := s.allow(query{Verb: server.VerbNotify, Peer: sub.by.Peer, Dispatcher: sub.spec}); err != nil {
		reply(answer{err: err})
		return
	}
	if sub.key != "" && s.repeated(sub, reply) {
		return
	}
	if err := s.journal.Err(); err != nil && s.durability(sub.spec) != mode.Memory {
		reply(answer{err: s.unavailable(fmt.Errorf("%w: %s", store.ErrUnavailable, err.Error()))})
		return
	}
	joined, why := s.bounded(sub)
	if why != nil {
		reply(answer{err: why})
		return
	}
	id := s.jobs.NewID(sub.by.At)
	verdict, effects, err := s.core.Submit(s.now(), queue.Submission{ID: queue.ID(id), Dispatcher: sub.spec.Name, Key: sub.argKey, Locks: sub.locks})
	if err != nil { // cannot be: the id is new
		reply(answer{err: err})
		return
	}
	if verdict.Refused != "" {
		s.count(sub.spec.Name, refused)
		reply(answer{err: s.refusal(sub.spec, verdict)})
		return
	}
	s.accept(sub, s.recordOf(sub, id, joined, verdict), joined, verdict, reply)
	s.perform(effects)
}

// bounded refuses a notify for which there is no room. It gives the job that it is
// about to join, nil = none. Where that runs with the arguments of the last notify,
// it wants their locks from now on.
func (s admission) bounded(sub submission) (*jobs.Job, *ipc.Error) {
	if why := s.keysFull(sub.spec, store.Key{UID: sub.by.UID, Dispatcher: sub.spec.Name, Key: sub.key}); why != nil {
		return nil, why
	}
	id, joins := s.core.Joinable(sub.spec.Name, sub.argKey)
	job, known := s.job(id)
	if !joins || !known {
		return nil, s.argumentsFull(sub.spec, sub.by.Peer, int64(len(sub.args)))
	}
	if !replaces(sub, job) {
		return job, nil
	}
	if why := s.argumentsFull(sub.spec, sub.by.Peer, int64(len(sub.args)-len(job.State().Arguments))); why != nil {
		return nil, why
	}
	s.inTurn(s.core.Relock(s.now(), id, sub.locks))
	return job, nil
}

// replaces reports whether a notify that joins a job brings other arguments.
func replaces(sub submission, job *jobs.Job) bool {
	return sub.spec.CoalesceArguments.Replaced() && !bytes.Equal(sub.args, job.State().Arguments)
}

// orNull is arguments as a join's record has them, where none would mean that they
// stay.
func orNull(args json.RawMessage) json.RawMessage {
	if args == nil {
		return json.RawMessage("null")
	}
	return args
}

// recordOf is the journal's record of an accepted or joined notify.
func (s admission) recordOf(sub submission, id ulid.ULID, joined *jobs.Job, v queue.Verdict) store.Record {
	at := sub.by.At.UnixNano()
	rec := store.Record{At: at, Key: sub.key, KeyUID: sub.by.UID, ArgHash: sub.hash, Cursor: sub.cursor}
	if v.Joined {
		rec.Op, rec.ID, rec.By = store.OpJoin, ulid.ULID(v.ID), &sub.by
		if joined != nil && replaces(sub, joined) {
			rec.Arguments = orNull(sub.args)
		}
		return rec
	}
	rec.Op, rec.ID = store.OpAccept, id
	rec.Job = &store.Job{
		ID: id, Dispatcher: sub.spec.Name, State: ipc.Queued, Origin: sub.origin,
		Arguments: sub.args, Notifiers: []ipc.Notifier{sub.by}, CreatedAt: at,
		Up: int64(proc.Uptime()), Boot: s.bootShort, Volatile: s.durability(sub.spec) == mode.Memory,
	}
	return rec
}

// accept journals a notify, and answers when that is durable: with the job as it was
// accepted, queued, and whether it has started since. A job whose acceptance does
// not get to the disk is withdrawn: its client is told. So are the arguments that a
// join brought.
func (s admission) accept(sub submission, rec store.Record, joined *jobs.Job, v queue.Verdict, reply func(answer)) {
	var before json.RawMessage
	if joined != nil {
		before = joined.State().Arguments
	}
	a := answer{notified: ipc.Notified{Coalesced: v.Joined, Position: v.Position}}
	var accepted *jobs.Job
	job, ok := s.record(rec, s.durability(sub.spec), true, func(err error) {
		if err == nil {
			a.notified.Started = !v.Joined && accepted.Told().State != ipc.Queued
			reply(a)
			return
		}
		reply(answer{err: s.unavailable(err)})
		switch {
		case !v.Joined:
			s.withdraw(rec.ID)
		case rec.Arguments != nil:
			s.takeBack(sub, joined, rec, before)
		}
	})
	if !ok {
		reply(answer{err: ipc.Errorf(ipc.KindInternal, "job %s cannot be recorded; see the daemon's log", rec.ID)})
		return
	}
	accepted, a.notified.Job = job, s.view(job)
}

// withdraw takes a job back that was never there for anybody. What runs of it
// holds its locks to its end.
func (s admission) withdraw(id ulid.ULID) {
	effects := s.core.Withdraw(s.now(), queue.ID(id))
	s.jobs.Withdraw(id)
	s.perform(effects)
}

// takeBack gives a job the arguments back that it had before a notify joined it
// which could not be recorded, unless it runs with them, or another has come since.
func (s admission) takeBack(sub submission, job *jobs.Job, rec store.Record, before json.RawMessage) {
	if job.Attempt != nil || job.State().State != ipc.Queued || !bytes.Equal(orNull(job.State().Arguments), rec.Arguments) {
		return
	}
	rec.Arguments, rec.Undo = orNull(before), true
	if _, err := s.jobs.Revert(rec); err != nil {
		s.log.Error("a join cannot be taken back", "job", rec.ID.String(), "error", err)
		return
	}
	if locks, err := sub.spec.Locks(before); err == nil {
		s.inTurn(s.core.Relock(s.now(), queue.ID(rec.ID), coreLocks(locks)))
	}
}

// repeated answers a notify whose idempotency key is known already.
func (s admission) repeated(sub submission, reply func(answer)) bool {
	key, ok := s.jobs.Key(store.Key{UID: sub.by.UID, Dispatcher: sub.spec.Name, Key: sub.key})
	if !ok {
		return false
	}
	if key.Hash != sub.hash {
		p := ipc.Errorf(ipc.KindIdempotencyConflict, "idempotency key %q was used with other arguments", sub.key)
		p.Dispatcher, p.Job, p.Suggestion = sub.spec.Name, key.Job.String(), "use a new key for a new request"
		reply(answer{err: p})
		return true
	}
	job, found := s.jobs.Job(key.Job)
	if !found {
		// The key outlives the job when the history is short.
		p := ipc.Errorf(ipc.KindJobUnknown, "job %s was accepted for this idempotency key and is no longer in the history", key.Job)
		p.Dispatcher, p.Job = sub.spec.Name, key.Job.String()
		reply(answer{err: p})
		return true
	}
	position := s.core.Position(queue.ID(key.Job))
	s.journal.Settled(key.Gate(), func(err error) {
		if err != nil {
			reply(answer{err: s.unavailable(err)})
			return
		}
		s.whenDecided(job, func() { reply(answer{notified: ipc.Notified{Job: s.view(job), Position: position}}) })
	})
	return true
}

// drainRetry is after how many seconds a client may ask a draining daemon again:
// nobody can tell when it is over.
const drainRetry = 10

// refusal words the queue's no.
func (s admission) refusal(spec *dispatchers.Spec, v queue.Verdict) *ipc.Error {
	var p *ipc.Error
	switch v.Refused {
	case queue.RefusedDraining:
		p = ipc.Errorf(ipc.KindDraining, "the daemon is draining and takes no new jobs")
		p.Suggestion = "ask again later, or run: dispatchctl undrain"
		p.RetryAfter = drainRetry
	case queue.RefusedFull:
		q, r := s.core.DispatcherCounts(spec.Name)
		p = ipc.Errorf(ipc.KindQueueFull, "dispatcher %s has %d jobs outstanding (%d running, %d queued), its max_queue is %d", spec.Name, q+r, r, q, spec.MaxQueue)
	case queue.RefusedAll:
		p = ipc.Errorf(ipc.KindQueueFull, "the daemon holds as many jobs as max_outstanding allows (%d)", s.settings.MaxOutstanding)
	default:
		p = ipc.Errorf(ipc.KindDispatcherUnknown, "no dispatcher is named %q", spec.Name)
	}
	p.Dispatcher = spec.Name
	if v.RetryAfter > 0 {
		p.RetryAfter = int(math.Ceil(v.RetryAfter.Seconds()))
	}
	return p
}

// joinKey is the text by which notifies of a dispatcher join, "" where none do.
func joinKey(s *dispatchers.Spec, args json.RawMessage) string {
	if s.Coalesce || s.Debounce > 0 {
		return s.ArgKey(args)
	}
	return ""
}

// coreLocks turns a definition's locks into the queue's.
func coreLocks(locks []dispatchers.Lock) []queue.Lock {
	out := make([]queue.Lock, len(locks))
	for i, l := range locks {
		out[i] = queue.Lock{Name: l.Name, Shared: l.Shared}
	}
	return out
}
