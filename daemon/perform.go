package daemon

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/lockfile"
)

// run is one active attempt of a job.
type run struct {
	id       queue.ID
	job      *store.Job
	spec     *dispatchers.Spec
	attempt  int
	locks    []held
	since    time.Time
	process  process // nil until the child exists
	marks    proc.AttemptFiles
	recorded chan error // whether its start is durable, before anything starts
	canceled bool
	late     bool // its timeout is over, and kill_mode none lets it run
	answered bool // the queue knows that it has started
	progress *ipc.Progress
	outcome  *store.Outcome // known once the child has ended
	unborn   bool           // it never began
	state    ipc.State
}

// held is a lock that a run holds on disk.
type held struct {
	file   *os.File
	shared bool
}

// process is a job's child, or the shim above it.
type process interface {
	Done() <-chan struct{}
	Exit() proc.Exit
	Stop()
}

// handOver closes our copies of the locks that the run's shim holds now.
func (r *run) handOver() {
	for _, l := range r.locks {
		_ = l.file.Close()
	}
	r.locks = nil
}

// release frees the run's locks on disk. A fork in progress holds copies of
// our descriptors until its exec, and so the lock: ForkLock waits for that.
func (r *run) release() {
	release(r.locks)
	r.locks = nil
}

// release frees locks on disk.
func release(locks []held) {
	if len(locks) == 0 {
		return
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	for _, l := range locks {
		lockfile.Release(l.file)
	}
}

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
			s.stopRun(ef.ID)
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
	r := &run{id: id, spec: spec, attempt: attempt, since: time.Now(), marks: s.marks(job.ID, attempt)}
	if lock, pid, err := s.takeLocks(r, job); err != nil {
		s.log.Debug("lock is held from outside", "lock", lock, "pid", pid, "job", job.ID.String(), "error", err)
		if proc.IsTransient(err) {
			s.startBlockedBy = err.Error()
			return queue.Reason{Kind: queue.NoResources}, false
		}
		return queue.Reason{Lock: lock, PID: pid}, false
	}
	rec := store.Record{Op: store.OpStart, ID: job.ID, At: r.since.UnixNano(), Attempt: int32(attempt), Epoch: s.epochID}
	applied, err := s.book.Apply(rec)
	if err != nil {
		s.log.Error("book: start", "job", job.ID.String(), "error", err)
		r.release()
		return queue.Reason{Kind: queue.NoJournal}, false
	}
	r.job = applied
	s.runs[id] = r
	dur := spec.OnInterrupt.StartDurability(s.durability(spec))
	r.recorded = make(chan error, 1)
	s.journal.Append(rec, dur, true, func(err error) { r.recorded <- err })
	go s.launch(r)
	return queue.Reason{}, true
}

// begun answers a run's Start: it has its locks, its start is durable, and it
// runs or is about to fail. What the queue decides then is performed.
func (s *state) begun(r *run) {
	if s.runs[r.id] == r && !r.answered {
		r.answered = true
		s.decide(s.core.Started(s.now(), r.id))
	}
}

// unstart puts a run back whose start could not be journaled. The queue tries
// it again as soon as the journal works.
func (s *state) unstart(r *run) {
	if s.runs[r.id] != r {
		return
	}
	r.release()
	delete(s.runs, r.id)
	if _, err := s.book.Apply(notStarted(r)); err != nil {
		s.log.Error("book: unstart", "job", r.job.ID.String(), "error", err)
	}
	s.decide(s.core.Busy(s.now(), r.id, queue.Reason{Kind: queue.NoJournal}))
}

// putOff puts a run back that the system is too short of something to start.
// The queue tries it again after a second.
func (s *state) putOff(r *run, cause error) {
	if s.runs[r.id] != r {
		return
	}
	s.log.Warn("a job cannot be started now", "dispatcher", r.spec.Name, "job", r.job.ID.String(), "error", cause)
	s.startBlockedBy = cause.Error()
	r.release()
	delete(s.runs, r.id)
	rec := notStarted(r)
	if _, err := s.book.Apply(rec); err != nil {
		s.log.Error("book: put off", "job", r.job.ID.String(), "error", err)
	} else {
		s.journal.Append(rec, s.durability(r.spec), false, func(error) {})
	}
	s.decide(s.core.Busy(s.now(), r.id, queue.Reason{Kind: queue.NoResources}))
}

// notStarted is the record of a start that did not come to be.
func notStarted(r *run) store.Record {
	return store.Record{Op: store.OpRequeue, ID: r.job.ID, At: time.Now().UnixNano(), Attempt: int32(r.attempt - 1)}
}

// holderOf is who holds the locks of a job that is our own child.
func holderOf(job *store.Job) lockfile.Holder {
	return lockfile.Holder{Job: job.ID.String(), PID: os.Getpid()}
}

// takeLocks takes the dispatcher's own lock file and the named ones, all or
// none, without waiting. It says which one is held by whom.
func (h *host) takeLocks(r *run, job *store.Job) (string, int, error) {
	holder := holderOf(job)
	shared := r.spec.Concurrency != 1
	if name, pid, err := h.take(r, h.cfg.Paths.DispatcherLocks(), r.spec.Name, shared, holder, "dispatcher:"+r.spec.Name); err != nil {
		return name, pid, err
	}
	locks, err := r.spec.Locks(job.Arguments)
	if err != nil {
		locks = nil // refused at notify; a definition changed since
	}
	slices.SortFunc(locks, func(a, b dispatchers.Lock) int { return strings.Compare(a.Name, b.Name) })
	for _, l := range locks {
		if name, pid, err := h.take(r, h.cfg.Paths.Locks(), l.Name, l.Shared, holder, l.Name); err != nil {
			return name, pid, err
		}
	}
	return "", 0, nil
}

// take adds one lock to the run, or gives all of them back.
func (h *host) take(r *run, dir, name string, shared bool, holder lockfile.Holder, label string) (string, int, error) {
	f, err := lockfile.Try(dir, name, shared, holder)
	if err == nil {
		r.locks = append(r.locks, held{file: f, shared: shared})
		return "", 0, nil
	}
	r.release()
	if busy, ok := errors.AsType[*lockfile.BusyError](err); ok {
		return label, busy.Holder.PID, err
	}
	return label, 0, err
}

// stopRun ends a running job because somebody canceled it.
func (s *state) stopRun(id queue.ID) {
	r := s.runs[id]
	if r == nil {
		return
	}
	r.canceled = true
	if r.process != nil {
		r.process.Stop()
	}
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
	forget := s.forgetMarks(r)
	if r.unborn {
		// It goes back to where it was: nothing of it ran. The next try has the
		// same marks.
		rec.NotBefore, rec.Run = 0, nil
		r.marks.Remove()
		forget = func(error) {}
	}
	if _, err := s.book.Apply(rec); err != nil {
		s.log.Error("book: retry", "job", r.job.ID.String(), "error", err)
		return
	}
	s.journal.Append(rec, s.durability(r.spec), false, forget)
	s.log.Warn("job will be tried again", "dispatcher", r.spec.Name, "job", r.job.ID.String(), "attempt", ef.Attempt, "after", ef.After)
}

// finish records the end of a job whose run has ended for good.
func (s *state) finish(id queue.ID) {
	r := s.runs[id]
	if r == nil {
		return
	}
	delete(s.runs, id)
	s.endThen(r.job, r.state, r.outcome, s.forgetMarks(r))
}

// forgetMarks removes a run's marks once its end is known for good elsewhere.
// The journal's writer does not wait for that.
func (s *state) forgetMarks(r *run) func(error) {
	return func(err error) {
		if err != nil {
			return
		}
		if _, own := r.process.(*proc.Process); own {
			go r.marks.RemoveOwn(len(r.job.Arguments) > 0)
			return
		}
		go r.marks.Remove()
	}
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
