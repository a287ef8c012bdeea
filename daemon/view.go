package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// views words what the loop knows for people and programs. It changes nothing.
type views struct{ *state }

// viewing gives the views of the state.
func viewing(s *state) views { return views{s} }

// view is a job as everybody may know it, with what only the loop knows.
func (s views) view(job *jobs.Job) ipc.Job {
	v := job.Told().View()
	switch v.State {
	case ipc.Queued:
		s.viewQueued(job, &v)
	case ipc.Running:
		if job.Attempt != nil {
			v.Progress = job.Attempt.Progress()
			if at := job.Attempt.Deadline(); !at.IsZero() && !job.Attempt.Late() {
				v.Deadline = new(at.UTC())
			}
			if job.Attempt.Late() {
				v.Error = &ipc.JobError{Kind: ipc.KindTimeout, Message: "runs longer than its timeout of " + job.Spec.Timeout.String() + "; its kill_mode lets it run on"}
			}
			v.Output.Bytes = s.dir.LogSize(job.ID())
		}
	case ipc.Succeeded, ipc.Failed, ipc.TimedOut, ipc.Canceled, ipc.Expired, ipc.Interrupted: // the journal knows all but one
		if v.Output.Open {
			v.Output = s.leftOutput(job.Told())
		}
	}
	return v
}

// viewQueued adds what a queued job waits for.
func (s views) viewQueued(job *jobs.Job, v *ipc.Job) {
	v.WaitingFor = s.waiting(queue.ID(job.ID()))
	if job.State().State.Final() { // it is over, and that cannot be written
		v.WaitingFor = &ipc.WaitingFor{Reason: ipc.WaitLock}
		s.missing(queue.NoJournal, v.WaitingFor)
	}
	if faults, bad := s.catalog.Load().Broken(v.Dispatcher); bad && v.WaitingFor != nil && v.WaitingFor.Reason == ipc.WaitPaused {
		v.WaitingFor.Detail = "disabled: " + reason(faults)
	} else if v.WaitingFor != nil && specOf(job) == nil {
		v.WaitingFor.Reason, v.WaitingFor.Detail = ipc.WaitPaused, "disabled: "+noDefinition
	}
}

// noDefinition is why a dispatcher runs nothing that has jobs of an earlier daemon and
// no file any more.
const noDefinition = "no definition of it was found when the daemon started; put its file back, then run: dispatchctl reload"

// waiting says why a queued job does not run yet.
func (s views) waiting(id queue.ID) *ipc.WaitingFor {
	w, ok := s.core.Waiting(s.now(), id)
	if !ok {
		return nil
	}
	v := &ipc.WaitingFor{Reason: ipc.Reason(w.Reason), Lock: w.Lock, PID: w.PID}
	if w.Job != (queue.ID{}) {
		v.Job = ulid.ULID(w.Job).String()
	}
	if w.Until > 0 {
		v.Until = new(s.epoch.Add(w.Until).UTC())
	}
	s.missing(w.Missing, v)
	v.EstimateSeconds = w.Estimate.Seconds()
	return v
}

// waitedFor is what a job waited for in vain, as the end of a sentence; "" = nothing
// that has a name.
func waitedFor(w queue.Wait) string {
	holder := ""
	switch {
	case w.Job != (queue.ID{}):
		holder = "job " + ulid.ULID(w.Job).String()
	case w.PID != 0:
		holder = fmt.Sprintf("process %d", w.PID)
	}
	switch {
	case w.Lock != "" && holder != "":
		return fmt.Sprintf(" for lock %s, which %s has", w.Lock, holder)
	case w.Lock != "":
		return " for lock " + w.Lock
	case holder != "":
		return " for its turn behind " + holder
	}
	return ""
}

// missing words what a start was missing that is no lock. The wire has it as one.
func (s views) missing(kind queue.ReasonKind, v *ipc.WaitingFor) {
	switch kind {
	case queue.NoJournal:
		v.Lock, v.Detail = "journal", "the journal cannot be written"
	case queue.NoRoom:
		v.Detail = cmp.Or(s.lacking, "it cannot be started now: "+s.startBlockedBy)
	case queue.NoResources:
		v.Lock, v.Detail = "resources", "it cannot be started now: "+s.startBlockedBy
	}
}

// dispatcher is the view of one dispatcher, without its definition.
func (s views) dispatcher(name string) ipc.Dispatcher {
	v := ipc.Dispatcher{Name: name, State: ipc.DispatcherReady}
	v.Queued, v.Running = s.core.DispatcherCounts(name)
	d := s.jobs.Dispatcher(name)
	if d == nil {
		return v
	}
	if d.Spec != nil {
		v.Description, v.Origin = d.Spec.Description, d.Spec.Origin
	}
	if d.Paused {
		v.State = ipc.DispatcherPaused
	}
	if d.Spec == nil && len(d.Faults) == 0 && d.Removed {
		v.State, v.Reason = ipc.DispatcherDisabled, noDefinition
	}
	if len(d.Faults) > 0 {
		v.Reason, v.Origin = reason(d.Faults), d.Faults[0].File
		if d.Spec == nil {
			v.State = ipc.DispatcherDisabled
		} else {
			v.Reason = "its last good definition is in force: " + v.Reason
		}
	}
	if why := s.planner.Fault(name); why != "" {
		v.Reason = strings.TrimPrefix(v.Reason+"; its schedule is not in force: "+why, "; ")
	}
	v.Counters, v.LastJob, v.LastState = d.Counters, d.Last.ID, d.Last.State
	v.LastEndedAt, v.LastSuccess, v.LastSuccessAt = store.Wall(d.Last.EndedAt), d.LastSuccess.ID, store.Wall(d.LastSuccess.EndedAt)
	return v
}

// defined is the view of one dispatcher with its whole definition.
func (s views) defined(name string) ipc.Dispatcher {
	v := s.dispatcher(name)
	if d := s.jobs.Dispatcher(name); d != nil && d.Spec != nil {
		v.Definition = d.Spec.Definition()
	}
	return v
}

// lastRun is the run of a dispatcher that began last, nil = none is known. Jobs that
// have not started come first in a list, so that few jobs need not be enough.
func (s views) lastRun(name string) *ipc.LastRun {
	var last *ipc.LastRun
	for _, most := range []int{5, 1000} {
		for _, job := range s.jobs.List(ipc.JobFilter{Dispatcher: name, Limit: most}) {
			v := job.Told().View()
			if v.StartedAt != nil && (last == nil || v.StartedAt.After(last.StartedAt)) {
				last = &ipc.LastRun{Job: v.ID, State: v.State, Origin: v.Origin, StartedAt: *v.StartedAt, EndedAt: v.EndedAt}
			}
		}
		if last != nil {
			return last
		}
	}
	return nil
}

// maxWaiters bounds who is named of the jobs that wait for a lock: of 100,000 an
// answer would be 3 MB.
const maxWaiters = 1000

// lockView is the view of one lock.
func (s views) lockView(l queue.LockState) ipc.Lock {
	v := ipc.Lock{Name: l.Name, Holders: []ipc.LockHolder{}, Waiters: []string{}}
	for _, h := range l.Holders {
		holder := ipc.LockHolder{PID: h.PID, Shared: h.Shared, Since: s.epoch.Add(h.Since).UTC()}
		if job, ok := s.job(h.Job); ok && h.Job != (queue.ID{}) {
			holder.Job, holder.Dispatcher = job.ID().String(), job.Dispatcher.Name
		}
		v.Holders = append(v.Holders, holder)
	}
	v.Waiting = len(l.Waiters)
	for _, id := range l.Waiters[:min(maxWaiters, len(l.Waiters))] {
		v.Waiters = append(v.Waiters, ulid.ULID(id).String())
	}
	return v
}

// whenDecided calls fn when it is known what may be told of a job: at once,
// unless its end is on its way to the disk. The disk is told to hurry then.
func (s views) whenDecided(job *jobs.Job, fn func()) {
	if job.Undecided() {
		s.journal.Settled(job.Gate(), func(error) { fn() })
		return
	}
	fn()
}

// refreshing is the job that refreshes a cache now, or is about to; "" = none.
func (s views) refreshing(d *jobs.Dispatcher) string {
	for job := range d.Running {
		return job.ID().String()
	}
	if id, ok := s.core.Head(d.Name); ok {
		return ulid.ULID(id).String()
	}
	return ""
}

// statusText says in a line what the daemon does.
func (s views) statusText() string {
	var parts []string
	queued, running := s.core.Counts()
	switch {
	case s.journal.Err() != nil:
		parts = append(parts, "NOTHING IS ACCEPTED, the journal cannot be written")
	case s.lacking != "" && queued > 0:
		parts = append(parts, "NO JOB STARTS, "+s.lacking)
	case s.core.Draining():
		parts = append(parts, "draining")
	}
	switch {
	case running > 0:
		parts = append(parts, "running "+s.runningNames())
	case queued == 0:
		parts = append(parts, "idle")
	}
	if queued > 0 {
		parts = append(parts, fmt.Sprintf("%d queued", queued))
	}
	c := s.catalog.Load()
	parts = append(parts, ipc.Counted(len(c.Specs), "dispatcher"))
	if n := len(c.Disabled) + len(c.Unlisted); n > 0 {
		parts = append(parts, fmt.Sprintf("%d faulty: run dispatchctl doctor", n))
	}
	return strings.Join(parts, "; ")
}

// runningNames names some dispatchers that run.
func (s views) runningNames() string {
	const most = 3
	var names []string
	for r := range s.attempts() {
		names = append(names, r.Spec.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
