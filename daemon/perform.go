package daemon

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/caches"
	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/run"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/lockfile"
)

// performer makes deeds of decisions: it is the only place where that happens.
type performer struct{ views }

// performing gives the performer of the state.
func performing(s *state) performer { return performer{viewing(s)} }

// decide performs what the queue decided about an event.
func (s performer) decide(effects []queue.Effect, err error) {
	s.inTurn(err)
	s.perform(effects)
}

// inTurn logs an event that did not fit the state of its job: the queue left
// all as it was, and the fault is the daemon's.
func (s performer) inTurn(err error) {
	if err != nil {
		s.log.Error("an event came out of turn", "error", err)
	}
}

// perform makes deeds of the queue's decisions, in their order. The queue hears
// of starts that could not be when all are done.
func (s performer) perform(effects []queue.Effect) {
	var answers []func()
	for _, effect := range effects {
		switch ef := effect.(type) {
		case queue.Start:
			if missing, ok := s.start(ef.ID, ef.Attempt); !ok {
				answers = append(answers, func() { s.decide(s.core.Busy(s.now(), ef.ID, missing)) })
			}
		case queue.Stop:
			s.cancelAttempt(ef.ID)
		case queue.Expire:
			s.endQueued(ef.ID, ipc.Expired, ipc.KindExpired, "waited longer than its queue_timeout"+waitedFor(ef.For))
		case queue.Drop:
			s.endQueued(ef.ID, ipc.Canceled, ipc.KindCanceled, "canceled while it was queued")
		case queue.Requeue:
			s.requeue(ef)
		case queue.Finish:
			s.finish(ef.ID)
		}
	}
	for _, answer := range answers {
		answer()
	}
	s.journal.Compact()
}

// start takes the job's locks on disk, journals the attempt, and has it
// launched; the launch waits until that record is durable. False: the job cannot
// start now, for want of what it says.
func (s performer) start(id queue.ID, number int) (missing queue.Reason, ok bool) {
	job, known := s.job(id)
	if !known || specOf(job) == nil { // cannot be while a job is open; paused by restore
		s.log.Error("a job without a definition is to start", "job", ulid.ULID(id).String())
		return queue.Reason{Kind: queue.Condition}, false
	}
	spec := specOf(job)
	if !s.hasRoom(spec, len(job.State().Arguments)) {
		return queue.Reason{Kind: queue.NoRoom}, false
	}
	s.keepDirs(spec)
	locks, err := s.runner.TryLocks(spec, job.State().Arguments, lockfile.Holder{Job: job.ID().String(), PID: os.Getpid()})
	if err != nil {
		return s.missingLock(job, err), false
	}
	// What has not started says so from before it is journaled: a start of the daemon
	// that finds nothing takes it for one that ran.
	files := s.attemptFiles(job.ID(), number)
	if err := files.Prepare(); err != nil {
		locks.Release()
		return s.blocked(fmt.Errorf("run directory: %w", err)), false
	}
	now := time.Now()
	recorded := make(chan error, 1)
	dur := spec.OnInterrupt.StartDurability(s.durability(spec))
	rec := store.Record{Op: store.OpStart, ID: job.ID(), At: now.UnixNano(), Attempt: int32(number), Epoch: s.epochID}
	if _, ok := s.record(rec, dur, true, func(err error) { recorded <- err }); !ok {
		locks.Release()
		files.Remove()
		return queue.Reason{Kind: queue.NoJournal}, false
	}
	a := s.newAttempt(job, number, spec, now, locks)
	a.Marked = true
	a.Spare, job.Dispatcher.Spare = job.Dispatcher.Spare, nil
	go s.runner.Run(s.following, a.Attempt, recorded, events{s.host})
	return queue.Reason{}, true
}

// keepDirs makes the directories that a start needs again where somebody has removed
// them. To find them there costs some microseconds; a start that fails for want of
// one would show its job as running for a moment.
func (s performer) keepDirs(spec *dispatchers.Spec) {
	s.keepRunDir()
	if spec.Cache != nil {
		s.keepCacheDir()
	}
}

// newAttempt makes the active attempt of a job, with the locks that it holds.
func (s performer) newAttempt(job *jobs.Job, number int, spec *dispatchers.Spec, since time.Time, locks *run.Locks) *attempt {
	a := run.New(job.State(), number, spec, s.attemptFiles(job.ID(), number), locks)
	a.Since = since
	r := &attempt{Attempt: a, job: job}
	job.Spec, job.Attempt = spec, r
	return r
}

// missingLock is the reason of a start that could not take a lock.
func (s performer) missingLock(job *jobs.Job, err error) queue.Reason {
	s.log.Debug("a lock cannot be taken", "job", job.ID().String(), "error", err)
	if proc.IsTransient(err) {
		return s.blocked(err)
	}
	var r queue.Reason
	if busy, ok := errors.AsType[*run.BusyError](err); ok {
		r.Lock, r.PID = busy.Lock, busy.PID
	}
	return r
}

// blocked is the reason of a start that lacked something.
func (s performer) blocked(err error) queue.Reason {
	s.startBlockedBy = err.Error()
	if proc.IsFull(err) { // a quota, or a disk that filled up just now
		return queue.Reason{Kind: queue.NoRoom}
	}
	return queue.Reason{Kind: queue.NoResources}
}

// drain begins a drain or ends one, and records it.
func (s performer) drain(by ipc.Peer, on bool, then func(error)) {
	now := time.Now().UTC()
	rec := store.Record{Op: store.OpResume, At: now.UnixNano(), Dispatcher: store.Everything}
	if on {
		rec.Op, rec.By = store.OpPause, &ipc.Notifier{Peer: by, At: now}
	}
	s.core.Drain(on)
	if _, ok := s.record(rec, s.settings.Durability, true, then); !ok {
		then(ipc.Errorf(ipc.KindInternal, "the drain cannot be recorded; see the daemon's log"))
	}
}

// endQueued ends a job that never ran, or waited for a retry.
func (s performer) endQueued(id queue.ID, end ipc.State, kind ipc.Kind, why string) {
	if job, ok := s.job(id); ok {
		files := s.attemptFiles(job.ID(), int(job.State().Attempt)+1) // of a start that was taken back
		job.Gate().OnDurable(func() { go files.RemoveOwn(false) })
		s.end(job, end, outcomeNow(job, &ipc.JobError{Kind: kind, Message: why}))
	}
}

// outcomeNow is the outcome of a job that ends now without a child that says how:
// what its last attempt left, and why.
func outcomeNow(job *jobs.Job, why *ipc.JobError) *store.Outcome {
	out := &store.Outcome{}
	if last := job.State().Run; last != nil {
		*out = *last
	}
	out.EndedAt, out.Error = time.Now().UnixNano(), why
	return out
}

// takeAttempt takes a job's active attempt from it, nil = it has none.
func (s performer) takeAttempt(id queue.ID) *attempt {
	job, ok := s.job(id)
	if !ok {
		return nil
	}
	r := attemptOf(job)
	job.Attempt = nil
	return r
}

// requeue records the end of an attempt that will be followed by another.
func (s performer) requeue(ef queue.Requeue) {
	r := s.takeAttempt(ef.ID)
	if r == nil {
		return
	}
	now := time.Now()
	rec := store.Record{
		Op: store.OpRequeue, ID: r.ID, At: now.UnixNano(), Attempt: int32(ef.Attempt),
		NotBefore: now.Add(ef.After).UnixNano(), Run: r.outcome,
	}
	if r.neverBegan {
		// It goes back to where it was: nothing of it ran. The next try has the
		// same files.
		rec.NotBefore, rec.Run = 0, nil
		r.Files.Unstart()
	} else {
		r.forgetFiles()
	}
	s.record(rec, s.durability(r.Spec), false, nil)
	if r.neverBegan {
		s.log.Info("a job that had not started when the last daemon went down is queued again", "dispatcher", r.Spec.Name, "job", r.Job.ID)
		return
	}
	s.log.Warn("job will be tried again", "dispatcher", r.Spec.Name, "job", r.Job.ID, "attempt", ef.Attempt, "after", ef.After)
}

// finish records the end of a job whose run has ended for good.
func (s performer) finish(id queue.ID) {
	r := s.takeAttempt(id)
	if r == nil {
		return
	}
	r.forgetFiles()
	s.end(r.job, r.state, r.outcome)
}

// end records a job's final state. Whoever waits for it is woken once that is
// durable; if the journal is broken, with the whole journal that replaces it.
func (s performer) end(job *jobs.Job, end ipc.State, out *store.Outcome) {
	spec := specOf(job)
	rec := store.Record{Op: store.OpEnd, ID: job.ID(), At: out.EndedAt, State: end, Run: out}
	if _, ok := s.record(rec, s.durability(spec), job.Awaited(), nil); !ok {
		return
	}
	if spec != nil && spec.Cache != nil {
		s.refreshed(job, end, out)
	}
	s.logEnd(job, end)
	if out.Output.Lost > 0 {
		s.log.Warn("output of a job was lost", "dispatcher", job.Dispatcher.Name, "job", job.ID().String(), "cause", out.Output.Warning)
	}
	s.prune(keptOf(out))
}

// logEnd logs the end of a job.
func (s performer) logEnd(job *jobs.Job, end ipc.State) {
	level := s.log.Info
	if end != ipc.Succeeded {
		level = s.log.Warn
	}
	level("job ended", "dispatcher", job.Dispatcher.Name, "job", job.ID().String(), "state", string(end))
}

// refreshed notes how a refresh of a cache ended.
func (s performer) refreshed(job *jobs.Job, end ipc.State, out *store.Outcome) {
	if end == ipc.Succeeded {
		job.Dispatcher.Refresh.Succeeded()
		return
	}
	job.Dispatcher.Refresh.Failed(s.now(), caches.Failure(job.ID().String(), end, out.Error, time.Unix(0, out.EndedAt)))
}

// journalWorks resumes starts.
func (s performer) journalWorks() {
	if !s.stopping && !s.handingOver {
		s.core.Freeze(false)
	}
	s.perform(s.core.Tick(s.now()))
}
