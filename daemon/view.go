package daemon

import (
	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// view is a job as everybody sees it, with what only the loop knows.
func (s *state) view(job *store.Job) ipc.Job {
	v := job.View()
	id := queue.ID(job.ID)
	switch v.State {
	case ipc.Queued:
		v.WaitingFor = s.waiting(id)
		if s.ending[id] != nil { // it is over, and that cannot be written
			v.WaitingFor = &ipc.WaitingFor{Reason: ipc.WaitLock}
			s.missing(queue.NoJournal, v.WaitingFor)
		}
		if faults, bad := s.catalog.Load().Broken(v.Dispatcher); bad && v.WaitingFor != nil && v.WaitingFor.Reason == ipc.WaitPaused {
			v.WaitingFor.Detail = "disabled: " + reason(faults)
		}
	case ipc.Running:
		if r := s.runs[id]; r != nil {
			v.Progress = r.Progress()
			if r.Late() {
				v.Error = &ipc.JobError{Kind: ipc.KindTimeout, Message: "runs longer than its timeout of " + r.Spec.Timeout.String() + "; its kill_mode lets it run on"}
			}
			v.Output.Bytes = s.dir.LogSize(job.ID)
		}
	case ipc.Succeeded, ipc.Failed, ipc.TimedOut, ipc.Canceled, ipc.Expired, ipc.Interrupted: // the journal knows all
	}
	return v
}

// waiting says why a queued job does not run yet.
func (s *state) waiting(id queue.ID) *ipc.WaitingFor {
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

// missing words what a start was missing that is no lock. The wire has it as one.
func (s *state) missing(kind queue.ReasonKind, v *ipc.WaitingFor) {
	switch kind {
	case queue.NoJournal:
		v.Lock, v.Detail = "journal", "the journal cannot be written"
	case queue.NoResources:
		v.Lock, v.Detail = "resources", "it cannot be started now: "+s.startBlockedBy
	}
}

// dispatcher is the view of one dispatcher.
func (s *state) dispatcher(name string) ipc.Dispatcher {
	c := s.catalog.Load()
	d := ipc.Dispatcher{Name: name, State: ipc.DispatcherReady}
	if spec := c.Specs[name]; spec != nil {
		d.Description, d.Origin, d.Definition = spec.Description, spec.Origin, spec.Definition()
	}
	for _, paused := range s.book.Paused() {
		if paused == name {
			d.State = ipc.DispatcherPaused
		}
	}
	if faults, bad := c.Disabled[name]; bad {
		d.Reason, d.Origin = reason(faults), faults[0].File
		if c.Specs[name] == nil {
			d.State = ipc.DispatcherDisabled
		} else {
			d.Reason = "its last good definition is in force: " + d.Reason
		}
	}
	d.Queued, d.Running = s.core.DispatcherCounts(name)
	if t := s.tallies[name]; t != nil {
		d.Counters, d.LastJob, d.LastState = t.counters, t.lastJob, t.lastState
	}
	return d
}

// lockView is the view of one lock.
func (s *state) lockView(l queue.LockState) ipc.Lock {
	v := ipc.Lock{Name: l.Name, Holders: []ipc.LockHolder{}, Waiters: []string{}}
	for _, h := range l.Holders {
		holder := ipc.LockHolder{PID: h.PID, Shared: h.Shared, Since: s.epoch.Add(h.Since).UTC()}
		if r := s.runs[h.Job]; r != nil {
			holder.Job, holder.Dispatcher = r.Job.ID, r.Spec.Name
		}
		v.Holders = append(v.Holders, holder)
	}
	for _, id := range l.Waiters {
		v.Waiters = append(v.Waiters, ulid.ULID(id).String())
	}
	return v
}
