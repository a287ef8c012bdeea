package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
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
	tick   *store.Tick // the due time that this comes from, nil = somebody asked
}

// answer is what a notify gets once it is durable.
type answer struct {
	notified ipc.Notified
	err      error
}

// Notify accepts one run of a dispatcher, or joins it to a queued one. It
// returns when the acceptance is durable.
func (e *engine) Notify(ctx context.Context, by ipc.Peer, req ipc.NotifyRequest) (ipc.Notified, error) {
	spec, err := e.lookup(req.Dispatcher)
	if err != nil {
		return ipc.Notified{}, err
	}
	// Before anything of the request is checked: what is wrong with it is not for
	// everybody to hear. The loop asks again, with what is in force then.
	if err := e.allow(query{Verb: server.VerbNotify, Peer: by, Dispatcher: spec}); err != nil {
		return ipc.Notified{}, err
	}
	s, err := e.check(ctx, spec, req)
	if err != nil {
		e.post(func() { e.count(spec.Name, refused) })
		return ipc.Notified{}, err
	}
	s.by = ipc.Notifier{Peer: by, At: time.Now().UTC()}
	reply := make(chan answer, 1)
	select {
	case e.calls <- func() { e.submit(s, func(a answer) { reply <- a }) }:
	case <-ctx.Done():
		return ipc.Notified{}, ctx.Err()
	case <-e.done:
		return ipc.Notified{}, errStopping()
	}
	// From here on the job may be accepted: a client that goes away does not
	// undo that, so only the answer or the daemon's end is waited for.
	select {
	case a := <-reply:
		return a.notified, a.err
	case <-e.ended:
		return ipc.Notified{}, errStopping()
	}
}

// check does everything of a notify that needs no loop.
func (e *engine) check(ctx context.Context, spec *dispatchers.Spec, req ipc.NotifyRequest) (submission, error) {
	s := submission{spec: spec, origin: req.Origin, key: req.IdempotencyKey}
	if s.origin == "" {
		s.origin = ipc.OriginNotify
	}
	if len(req.Arguments) > 0 {
		args, err := spec.ValidateArguments(req.Arguments)
		if err != nil {
			return s, err
		}
		s.args = args
	}
	locks, err := spec.Locks(s.args)
	if err != nil {
		return s, err
	}
	s.locks = coreLocks(locks)
	if spec.Coalesce || spec.Debounce > 0 {
		s.argKey = spec.ArgKey(s.args)
	}
	if s.key != "" {
		sum := sha256.Sum256([]byte(spec.Canonical(s.args)))
		s.hash = hex.EncodeToString(sum[:16])
	}
	return s, e.build.Check(ctx, spec)
}

// submit is the loop's part of a notify: same key, decision, record, journal.
func (e *engine) submit(s submission, reply func(answer)) {
	if e.stopping {
		reply(answer{err: errStopping()})
		return
	}
	if err := e.allow(query{Verb: server.VerbNotify, Peer: s.by.Peer, Dispatcher: s.spec}); err != nil {
		reply(answer{err: err})
		return
	}
	if s.key != "" && e.repeated(s, reply) {
		return
	}
	if e.journalErr != nil && e.durability(s.spec) != store.Memory {
		reply(answer{err: e.unavailable(fmt.Errorf("%w: %s", store.ErrUnavailable, e.journalErr.Error()))})
		return
	}
	at := s.by.At
	id := e.newID(at)
	verdict, effects, err := e.core.Submit(e.now(), queue.Submission{ID: queue.ID(id), Dispatcher: s.spec.Name, Key: s.argKey, Locks: s.locks})
	if err != nil { // cannot be: the id is new
		reply(answer{err: err})
		return
	}
	if verdict.Refused != "" {
		e.count(s.spec.Name, refused)
		reply(answer{err: e.refusal(s.spec, verdict)})
		return
	}
	rec := store.Record{At: at.UnixNano(), Key: s.key, KeyUID: s.by.UID, ArgHash: s.hash, Tick: s.tick}
	if verdict.Joined {
		rec.Op, rec.ID, rec.By = store.OpJoin, [16]byte(verdict.ID), &s.by
		e.count(s.spec.Name, func(c *ipc.Counters) *int64 { return &c.Coalesced })
	} else {
		rec.Op, rec.ID = store.OpAccept, id
		rec.Job = &store.Job{
			ID: id, Dispatcher: s.spec.Name, State: ipc.Queued, Origin: s.origin,
			Arguments: s.args, Notifiers: []ipc.Notifier{s.by}, CreatedAt: at.UnixNano(),
			Up: int64(proc.Uptime()), Boot: e.boot, Volatile: e.durability(s.spec) == store.Memory,
		}
		e.count(s.spec.Name, func(c *ipc.Counters) *int64 { return &c.Accepted })
	}
	e.record(s, rec, verdict, effects, reply)
}

// record journals an accepted or joined notify and answers when it is durable.
// The view is taken before the effects, so that the answer says "queued".
func (e *engine) record(s submission, rec store.Record, v queue.Verdict, effects []queue.Effect, reply func(answer)) {
	job, err := e.book.Apply(rec)
	if err != nil {
		reply(answer{err: err})
		return
	}
	a := answer{notified: ipc.Notified{Job: e.view(job), Coalesced: v.Joined, Position: v.Position}}
	id := queue.ID(rec.ID)
	switch {
	case !v.Joined:
		e.inflight[id] = nil
	case s.key != "":
		e.joining[s.storeKey()] = nil
	}
	e.journal.Append(rec, e.durability(s.spec), true, func(err error) {
		if err != nil {
			reply(answer{err: e.unavailable(err)})
		} else {
			reply(a)
		}
		switch {
		case !v.Joined:
			e.post(func() { e.settled(id, err) })
		case s.key != "":
			e.post(func() { e.joined(s.storeKey(), err) })
		}
	})
	e.perform(effects)
}

// joined ends the time in which a join with a key was not yet durable.
func (e *engine) joined(key store.Key, err error) {
	for _, tell := range e.joining[key] {
		tell(err)
	}
	delete(e.joining, key)
}

// settled ends the time in which an accepted job was not yet durable. One that
// did not get there is forgotten: its client was told so.
func (e *engine) settled(id queue.ID, err error) {
	for _, tell := range e.inflight[id] {
		tell(err)
	}
	delete(e.inflight, id)
	if err == nil {
		return
	}
	effects := e.core.Withdraw(e.now(), id)
	if r := e.runs[id]; r != nil {
		r.release()
		delete(e.runs, id)
	}
	e.book.Forget([16]byte(id))
	e.forgetEnd(id)
	e.perform(effects)
}

// repeated answers a notify whose idempotency key is known already.
func (e *engine) repeated(s submission, reply func(answer)) bool {
	key := s.storeKey()
	id, hash, ok := e.book.Key(key)
	if !ok {
		return false
	}
	if hash != s.hash {
		p := ipc.Errorf(ipc.KindIdempotencyConflict, "idempotency key %q was used with other arguments", s.key)
		p.Dispatcher, p.Job, p.Suggestion = s.spec.Name, id.String(), "use a new key for a new request"
		reply(answer{err: p})
		return true
	}
	job, found := e.book.Job(id)
	if !found {
		// The key outlives the job when the history is short.
		p := ipc.Errorf(ipc.KindJobUnknown, "job %s was accepted for this idempotency key and is no longer in the history", id)
		p.Dispatcher, p.Job = s.spec.Name, id.String()
		reply(answer{err: p})
		return true
	}
	a := answer{notified: ipc.Notified{Job: e.view(job), Position: e.core.Position(queue.ID(id))}}
	tell := func(err error) {
		if err != nil {
			a = answer{err: e.unavailable(err)}
		}
		reply(a)
	}
	if list, open := e.inflight[queue.ID(id)]; open {
		e.inflight[queue.ID(id)] = append(list, tell)
	} else if list, open := e.joining[key]; open {
		e.joining[key] = append(list, tell)
	} else {
		e.whenDecided(queue.ID(id), func() {
			a.notified.Job = e.view(e.told(job))
			tell(nil)
		})
	}
	return true
}

// storeKey is a notify's idempotency key.
func (s submission) storeKey() store.Key {
	return store.Key{UID: s.by.UID, Dispatcher: s.spec.Name, Key: s.key}
}

// lookup finds a dispatcher that takes jobs.
func (e *engine) lookup(name string) (*dispatchers.Spec, error) {
	c := e.catalog.Load()
	if spec := c.Specs[name]; spec != nil {
		return spec, nil
	}
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	if faults, bad := c.Broken(name); bad {
		p := ipc.Errorf(ipc.KindDispatcherDisabled, "dispatcher %s is disabled: %s", name, reason(faults))
		p.Dispatcher, p.Suggestion = name, "mend the file, then run: dispatchctl reload"
		if _, known := c.Disabled[name]; !known {
			p.Detail = fmt.Sprintf("no dispatcher is known as %q, but not all could be read: %s", name, reason(faults))
			p.Suggestion = "mend the directory, then run: dispatchctl reload"
		}
		return nil, p
	}
	p := ipc.Errorf(ipc.KindDispatcherUnknown, "no dispatcher is named %q", name)
	p.Dispatcher = name
	if near := c.Nearest(name); near != "" {
		p.Suggestion = "did you mean " + near + "?"
	}
	return nil, p
}

// drainRetry is after how many seconds a client may ask a draining daemon again:
// nobody can tell when it is over.
const drainRetry = 10

// refusal words the queue's no.
func (e *engine) refusal(spec *dispatchers.Spec, v queue.Verdict) *ipc.Error {
	var p *ipc.Error
	switch v.Refused {
	case queue.RefusedDraining:
		p = ipc.Errorf(ipc.KindDraining, "the daemon is draining and takes no new jobs")
		p.Suggestion = "ask again later, or run: dispatchctl undrain"
		p.RetryAfter = drainRetry
	case queue.RefusedFull:
		q, r := e.core.DispatcherCounts(spec.Name)
		p = ipc.Errorf(ipc.KindQueueFull, "dispatcher %s has %d jobs outstanding (%d running, %d queued), its max_queue is %d", spec.Name, q+r, r, q, spec.MaxQueue)
	case queue.RefusedAll:
		p = ipc.Errorf(ipc.KindQueueFull, "the daemon holds as many jobs as max_outstanding allows (%d)", e.settings.MaxOutstanding)
	default:
		p = ipc.Errorf(ipc.KindDispatcherUnknown, "no dispatcher is named %q", spec.Name)
	}
	p.Dispatcher = spec.Name
	if v.RetryAfter > 0 {
		p.RetryAfter = int(math.Ceil(v.RetryAfter.Seconds()))
	}
	return p
}

// unavailable says that nothing can be promised now.
func (e *engine) unavailable(cause error) *ipc.Error {
	p := ipc.Errorf(ipc.KindJournalUnavailable, "journal in %s: %v", e.cfg.Paths.State, cause)
	p.RetryAfter = 5
	p.Suggestion = "free space on that disk; jobs are accepted again by themselves"
	if errors.Is(cause, store.ErrInDoubt) {
		p.Detail += "; nobody knows whether the job was written"
		p.Suggestion = "ask again with the same Idempotency-Key; jobs are accepted again by themselves"
	}
	return p
}

// durability is the level that holds for a dispatcher's jobs.
func (e *engine) durability(spec *dispatchers.Spec) store.Durability {
	if spec != nil && spec.Durability != "" {
		return spec.Durability
	}
	return e.settings.Durability
}

// refused picks the counter of refused notifies.
func refused(c *ipc.Counters) *int64 { return &c.Refused }

// reason puts a bad definition's faults into one line.
func reason(faults []dispatchers.Fault) string {
	var lines []string
	for _, f := range faults {
		lines = append(lines, f.Error())
	}
	return strings.Join(lines, "; ")
}

// coreLocks turns a definition's locks into the queue's.
func coreLocks(locks []dispatchers.Lock) []queue.Lock {
	out := make([]queue.Lock, len(locks))
	for i, l := range locks {
		out[i] = queue.Lock{Name: l.Name, Shared: l.Shared}
	}
	return out
}
