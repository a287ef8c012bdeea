package daemon

import (
	"errors"
	"os"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/run"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/lockfile"
)

// decide performs what the queue decided about an event.
func (s *state) decide(effects []queue.Effect, err error) {
	s.inTurn(err)
	s.perform(effects)
}

// inTurn logs an event that did not fit the state of its job: the queue left
// all as it was, and the fault is the daemon's.
func (s *state) inTurn(err error) {
	if err != nil {
		s.log.Error("an event came out of turn", "error", err)
	}
}

// perform makes deeds of the queue's decisions, in their order. The queue hears
// of starts that could not be when all are done.
func (s *state) perform(effects []queue.Effect) {
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
			s.endQueued(ef.ID, ipc.Expired, ipc.KindExpired, "waited longer than its queue_timeout")
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
	if s.journal.CompactDue() && s.journalErr == nil {
		s.journal.Rewrite(s.book.Snapshot(), func(err error) {
			if err != nil {
				s.log.Warn("journal: compaction", "error", err)
			}
		})
	}
}

// start takes the job's locks on disk, journals the attempt, and has it
// launched; the launch waits until that record is durable. False: the job cannot
// start now, for want of what it says.
func (s *state) start(id queue.ID, attempt int) (missing queue.Reason, ok bool) {
	job, known := s.book.Job([16]byte(id))
	var spec *dispatchers.Spec
	if known {
		spec = s.specOf(job.Dispatcher)
	}
	if spec == nil { // cannot be while a job is open; paused by restore
		s.log.Error("a job without a definition is to start", "job", ulid.ULID(id).String())
		return queue.Reason{Kind: queue.Condition}, false
	}
	locks, err := s.runner.TryLocks(spec, job.Arguments, lockfile.Holder{Job: job.ID.String(), PID: os.Getpid()})
	if err != nil {
		return s.missingLock(job, err), false
	}
	now := time.Now()
	rec := store.Record{Op: store.OpStart, ID: job.ID, At: now.UnixNano(), Attempt: int32(attempt), Epoch: s.epochID}
	applied, err := s.book.Apply(rec)
	if err != nil {
		s.log.Error("book: start", "job", job.ID.String(), "error", err)
		locks.Release()
		return queue.Reason{Kind: queue.NoJournal}, false
	}
	s.runs[id] = s.newAttempt(applied, attempt, spec, now, locks)
	recorded := make(chan error, 1)
	dur := spec.OnInterrupt.StartDurability(s.durability(spec))
	s.journal.Append(rec, dur, true, func(err error) { recorded <- err })
	go s.runner.Run(s.following, s.runs[id].Attempt, recorded, events{s.host})
	return queue.Reason{}, true
}

// newAttempt makes an attempt of a job, with the locks that it holds.
func (s *state) newAttempt(job *store.Job, number int, spec *dispatchers.Spec, since time.Time, locks *run.Locks) *attempt {
	a := run.New(job, number, spec, s.marks(job.ID, number), locks)
	a.Since = since
	return &attempt{Attempt: a, id: queue.ID(job.ID), job: job}
}

// missingLock is the reason of a start that could not take a lock.
func (s *state) missingLock(job *store.Job, err error) queue.Reason {
	s.log.Debug("a lock cannot be taken", "job", job.ID.String(), "error", err)
	if proc.IsTransient(err) {
		s.startBlockedBy = err.Error()
		return queue.Reason{Kind: queue.NoResources}
	}
	var r queue.Reason
	if busy, ok := errors.AsType[*run.BusyError](err); ok {
		r.Lock, r.PID = busy.Lock, busy.PID
	}
	return r
}

// endQueued ends a job that never ran, or waited for a retry.
func (s *state) endQueued(id queue.ID, state ipc.State, kind ipc.Kind, why string) {
	job, ok := s.book.Job([16]byte(id))
	if !ok {
		return
	}
	out := &store.Outcome{EndedAt: time.Now().UnixNano()}
	if job.Run != nil {
		last := *job.Run
		last.EndedAt, out = out.EndedAt, &last
	}
	out.Error = &ipc.JobError{Kind: kind, Message: why}
	s.end(job, state, out)
}

// requeue records the end of an attempt that will be followed by another.
func (s *state) requeue(ef queue.Requeue) {
	r := s.runs[ef.ID]
	if r == nil {
		return
	}
	delete(s.runs, ef.ID)
	now := time.Now()
	rec := store.Record{
		Op: store.OpRequeue, ID: r.job.ID, At: now.UnixNano(), Attempt: int32(ef.Attempt),
		NotBefore: now.Add(ef.After).UnixNano(), Run: r.outcome,
	}
	forget := forgetFiles(r.Files)
	if r.neverBegan {
		// It goes back to where it was: nothing of it ran. The next try has the
		// same marks.
		rec.NotBefore, rec.Run = 0, nil
		r.Files.Remove()
		forget = func(error) {}
	}
	if _, err := s.book.Apply(rec); err != nil {
		s.log.Error("book: retry", "job", r.job.ID.String(), "error", err)
		return
	}
	s.journal.Append(rec, s.durability(r.Spec), false, forget)
	s.log.Warn("job will be tried again", "dispatcher", r.Spec.Name, "job", r.Job.ID, "attempt", ef.Attempt, "after", ef.After)
}

// finish records the end of a job whose run has ended for good.
func (s *state) finish(id queue.ID) {
	r := s.runs[id]
	if r == nil {
		return
	}
	delete(s.runs, id)
	s.endThen(r.job, r.state, r.outcome, forgetFiles(r.Files))
}

// end records a job's final state and wakes who waits for it, once it is
// durable. When the journal is broken the end is kept in the book, and written
// and told with the next snapshot.
func (s *state) end(job *store.Job, state ipc.State, out *store.Outcome) {
	s.endThen(job, state, out, func(error) {})
}

// endThen is end, and then does something when the end is durable, or is not.
func (s *state) endThen(job *store.Job, end ipc.State, out *store.Outcome, then func(error)) {
	rec := store.Record{Op: store.OpEnd, ID: job.ID, At: out.EndedAt, State: end, Run: out}
	before, _ := s.book.Job(job.ID)
	if _, err := s.book.Apply(rec); err != nil {
		s.log.Error("book: end", "job", job.ID.String(), "error", err)
		return
	}
	s.tallyEnd(job, end)
	s.refreshed(job, end, out)
	id := queue.ID(job.ID)
	s.ending[id] = &ending{before: before, state: end}
	s.journal.Append(rec, s.durability(s.specOf(job.Dispatcher)), len(s.waiters[id]) > 0, func(err error) {
		then(err)
		s.post(func(s *state) { s.written(id, err) })
	})
	s.logEnd(job, end)
	s.prune(out.Output)
	s.forgetRemoved(job.Dispatcher)
}

// tallyEnd counts the end of a job.
func (s *state) tallyEnd(job *store.Job, state ipc.State) {
	s.count(job.Dispatcher, func(c *ipc.Counters) *int64 {
		switch state {
		case ipc.Succeeded:
			return &c.Succeeded
		case ipc.Canceled, ipc.Expired:
			return &c.Canceled
		case ipc.Failed, ipc.TimedOut, ipc.Interrupted, ipc.Queued, ipc.Running: // the last two do not end
		}
		return &c.Failed
	})
}

// logEnd logs the end of a job.
func (s *state) logEnd(job *store.Job, state ipc.State) {
	level := s.log.Info
	if state != ipc.Succeeded {
		level = s.log.Warn
	}
	level("job ended", "dispatcher", job.Dispatcher, "job", job.ID.String(), "state", string(state))
}

// prune keeps history and logs within their bounds after a job that left an
// output. The book does nothing unless a bound is passed.
func (s *state) prune(out ipc.Output) {
	if gone := s.book.Prune(time.Now()); len(gone) > 0 {
		go s.dir.RemoveLogs(gone)
	}
	if !s.outputs.Add(out.Bytes - out.Dropped) {
		return
	}
	open := map[ulid.ULID]bool{}
	for id := range s.runs {
		open[ulid.ULID(id)] = true
	}
	go func() {
		left := s.dir.EnforceLogs(s.settings.LogBytes, func(id ulid.ULID) bool { return open[id] })
		s.post(func(s *state) { s.outputs.Counted(left) })
	}()
}

// journalFailed is told once when a write or sync failed: nothing more is
// accepted, and a new journal is written as soon as the disk takes it.
func (s *state) journalFailed(err error) {
	s.log.Error("journal: cannot be written; nothing is accepted until it can", "error", err)
	s.journalErr = err
	s.core.Freeze(true)
	s.heal()
}

// journalFull is told when the disk has no space for new jobs, and with nil when
// it has again. What was accepted starts and ends meanwhile.
func (s *state) journalFull(err error) {
	if err != nil {
		s.log.Error("journal: no space; nothing is accepted until there is", "error", err)
		s.journalErr = err
		return
	}
	s.log.Info("journal: there is space again; jobs are accepted again")
	s.journalWorks()
}

// journalWorks resumes acceptance and starts.
func (s *state) journalWorks() {
	s.journalErr = nil
	if !s.stopping && !s.handingOver {
		s.core.Freeze(false)
	}
	s.perform(s.core.Tick(s.now()))
}

// healEvery is how often a broken journal is tried again.
const healEvery = 500 * time.Millisecond

// heal writes a new journal from the book. By the time it runs, every accept
// that failed has been withdrawn.
func (s *state) heal() {
	time.AfterFunc(healEvery, func() {
		s.post(func(s *state) {
			stale, ends := s.staleMarks(), s.ends()
			s.journal.Rewrite(s.book.Snapshot(), func(err error) { s.post(func(s *state) { s.healed(err, stale, ends) }) })
		})
	})
}

// healed resumes acceptance, or tries again. What was over when the snapshot was
// taken needs no marks then, and may be told.
func (s *state) healed(err error, stale []string, ends []queue.ID) {
	if err != nil {
		s.journalErr = err
		s.heal()
		return
	}
	s.log.Info("journal: written anew; jobs are accepted again")
	removeAll(stale)
	s.allCertain(ends)
	s.journalWorks()
}
