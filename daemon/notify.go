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
	if err := b.loop.Send(ctx, func(s *state) { s.submit(sub, func(a answer) { reply <- a }) }); err != nil {
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
	if spec.Coalesce || spec.Debounce > 0 {
		sub.argKey = spec.ArgKey(sub.args)
	}
	if sub.key != "" {
		sum := sha256.Sum256([]byte(spec.Canonical(sub.args)))
		sub.hash = hex.EncodeToString(sum[:16])
	}
	return sub, h.build.Check(ctx, spec)
}

// submit is the loop's part of a notify: same key, decision, record, journal.
func (s *state) submit(sub submission, reply func(answer)) {
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
	if s.journalErr != nil && s.durability(sub.spec) != mode.Memory {
		reply(answer{err: s.unavailable(fmt.Errorf("%w: %s", store.ErrUnavailable, s.journalErr.Error()))})
		return
	}
	at := sub.by.At
	id := s.newID(at)
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
	rec := store.Record{At: at.UnixNano(), Key: sub.key, KeyUID: sub.by.UID, ArgHash: sub.hash, Cursor: sub.cursor}
	if verdict.Joined {
		rec.Op, rec.ID, rec.By = store.OpJoin, [16]byte(verdict.ID), &sub.by
		s.count(sub.spec.Name, func(c *ipc.Counters) *int64 { return &c.Coalesced })
	} else {
		rec.Op, rec.ID = store.OpAccept, id
		rec.Job = &store.Job{
			ID: id, Dispatcher: sub.spec.Name, State: ipc.Queued, Origin: sub.origin,
			Arguments: sub.args, Notifiers: []ipc.Notifier{sub.by}, CreatedAt: at.UnixNano(),
			Up: int64(proc.Uptime()), Boot: s.bootShort, Volatile: s.durability(sub.spec) == mode.Memory,
		}
		s.count(sub.spec.Name, func(c *ipc.Counters) *int64 { return &c.Accepted })
	}
	s.record(sub, rec, verdict, effects, reply)
}

// record journals an accepted or joined notify and answers when it is durable.
// The view is taken before the effects, so that the answer says "queued".
func (s *state) record(sub submission, rec store.Record, v queue.Verdict, effects []queue.Effect, reply func(answer)) {
	job, err := s.book.Apply(rec)
	if err != nil {
		reply(answer{err: err})
		return
	}
	a := answer{notified: ipc.Notified{Job: s.view(job), Coalesced: v.Joined, Position: v.Position}}
	id := queue.ID(rec.ID)
	switch {
	case !v.Joined:
		s.inflight[id] = nil
	case sub.key != "":
		s.joining[sub.storeKey()] = nil
	}
	s.journal.Append(rec, s.durability(sub.spec), true, func(err error) {
		if err != nil {
			reply(answer{err: s.unavailable(err)})
		} else {
			reply(a)
		}
		switch {
		case !v.Joined:
			s.post(func(s *state) { s.settled(id, err) })
		case sub.key != "":
			s.post(func(s *state) { s.joined(sub.storeKey(), err) })
		}
	})
	s.perform(effects)
}

// joined ends the time in which a join with a key was not yet durable.
func (s *state) joined(key store.Key, err error) {
	for _, tell := range s.joining[key] {
		tell(err)
	}
	delete(s.joining, key)
}

// settled ends the time in which an accepted job was not yet durable. One that
// did not get there is forgotten: its client was told so.
func (s *state) settled(id queue.ID, err error) {
	for _, tell := range s.inflight[id] {
		tell(err)
	}
	delete(s.inflight, id)
	if err == nil {
		return
	}
	effects := s.core.Withdraw(s.now(), id)
	delete(s.runs, id) // what runs of it holds its locks to its end
	s.book.Forget([16]byte(id))
	s.forgetEnd(id)
	s.perform(effects)
}

// repeated answers a notify whose idempotency key is known already.
func (s *state) repeated(sub submission, reply func(answer)) bool {
	key := sub.storeKey()
	id, hash, ok := s.book.Key(key)
	if !ok {
		return false
	}
	if hash != sub.hash {
		p := ipc.Errorf(ipc.KindIdempotencyConflict, "idempotency key %q was used with other arguments", sub.key)
		p.Dispatcher, p.Job, p.Suggestion = sub.spec.Name, id.String(), "use a new key for a new request"
		reply(answer{err: p})
		return true
	}
	job, found := s.book.Job(id)
	if !found {
		// The key outlives the job when the history is short.
		p := ipc.Errorf(ipc.KindJobUnknown, "job %s was accepted for this idempotency key and is no longer in the history", id)
		p.Dispatcher, p.Job = sub.spec.Name, id.String()
		reply(answer{err: p})
		return true
	}
	a := answer{notified: ipc.Notified{Job: s.view(job), Position: s.core.Position(queue.ID(id))}}
	tell := func(err error) {
		if err != nil {
			a = answer{err: s.unavailable(err)}
		}
		reply(a)
	}
	if list, open := s.inflight[queue.ID(id)]; open {
		s.inflight[queue.ID(id)] = append(list, tell)
	} else if list, open := s.joining[key]; open {
		s.joining[key] = append(list, tell)
	} else {
		s.whenDecided(queue.ID(id), func() {
			a.notified.Job = s.view(s.told(job))
			tell(nil)
		})
	}
	return true
}

// storeKey is a notify's idempotency key.
func (sub submission) storeKey() store.Key {
	return store.Key{UID: sub.by.UID, Dispatcher: sub.spec.Name, Key: sub.key}
}

// lookup finds a dispatcher that takes jobs.
func (h *host) lookup(name string) (*dispatchers.Spec, error) {
	c := h.catalog.Load()
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
func (s *state) refusal(spec *dispatchers.Spec, v queue.Verdict) *ipc.Error {
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

// unavailable says that nothing can be promised now.
func (h *host) unavailable(cause error) *ipc.Error {
	p := ipc.Errorf(ipc.KindJournalUnavailable, "journal in %s: %v", h.cfg.Paths.State, cause)
	p.RetryAfter = 5
	p.Suggestion = "free space on that disk; jobs are accepted again by themselves"
	if errors.Is(cause, store.ErrInDoubt) {
		p.Detail += "; nobody knows whether the job was written"
		p.Suggestion = "ask again with the same Idempotency-Key; jobs are accepted again by themselves"
	}
	return p
}

// durability is the level that holds for a dispatcher's jobs.
func (h *host) durability(spec *dispatchers.Spec) mode.Durability {
	if spec != nil && spec.Durability != "" {
		return spec.Durability
	}
	return h.settings.Durability
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
