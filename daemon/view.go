package daemon

import (
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// view is a job as everybody sees it, with what only the loop knows.
func (e *engine) view(job *store.Job) ipc.Job {
	v := job.View()
	id := queue.ID(job.ID)
	switch v.State {
	case ipc.Queued:
		v.WaitingFor = e.waiting(id)
		if e.ending[id] != nil { // it is over, and that cannot be written
			v.WaitingFor = &ipc.WaitingFor{Reason: ipc.WaitLock}
			e.missing(queue.NoJournal, v.WaitingFor)
		}
		if faults, bad := e.catalog.Load().Broken(v.Dispatcher); bad && v.WaitingFor != nil && v.WaitingFor.Reason == ipc.WaitPaused {
			v.WaitingFor.Detail = "disabled: " + reason(faults)
		}
	case ipc.Running:
		if r := e.runs[id]; r != nil {
			v.Progress = r.progress
			if r.late {
				v.Error = &ipc.JobError{Kind: ipc.KindTimeout, Message: "runs longer than its timeout of " + time.Duration(r.spec.Timeout).String() + "; its kill_mode lets it run on"}
			}
			v.Output.Bytes = e.dir.LogSize(job.ID)
		}
	case ipc.Succeeded, ipc.Failed, ipc.TimedOut, ipc.Canceled, ipc.Expired, ipc.Interrupted: // the journal knows all
	}
	return v
}

// waiting says why a queued job does not run yet.
func (e *engine) waiting(id queue.ID) *ipc.WaitingFor {
	w, ok := e.core.Waiting(e.now(), id)
	if !ok {
		return nil
	}
	v := &ipc.WaitingFor{Reason: ipc.Reason(w.Reason), Lock: w.Lock, PID: w.PID}
	if w.Job != (queue.ID{}) {
		v.Job = ulid.ULID(w.Job).String()
	}
	if w.Until > 0 {
		v.Until = new(e.epoch.Add(w.Until).UTC())
	}
	e.missing(w.Missing, v)
	v.EstimateSeconds = w.Estimate.Seconds()
	return v
}

// missing words what a start was missing that is no lock. The wire has it as one.
func (e *engine) missing(kind queue.ReasonKind, v *ipc.WaitingFor) {
	switch kind {
	case queue.NoJournal:
		v.Lock, v.Detail = "journal", "the journal cannot be written"
	case queue.NoResources:
		v.Lock, v.Detail = "resources", "it cannot be started now: "+e.shortage
	}
}

// dispatcher is the view of one dispatcher.
func (e *engine) dispatcher(name string) ipc.Dispatcher {
	c := e.catalog.Load()
	d := ipc.Dispatcher{Name: name, State: ipc.DispatcherReady}
	if spec := c.Specs[name]; spec != nil {
		d.Description, d.Origin, d.Definition = spec.Description, spec.Origin, spec.Definition()
	}
	for _, paused := range e.book.Paused() {
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
	d.Queued, d.Running = e.core.DispatcherCounts(name)
	if t := e.tallies[name]; t != nil {
		d.Counters, d.LastJob, d.LastState = t.counters, t.lastJob, t.lastState
	}
	return d
}

// lockView is the view of one lock.
func (e *engine) lockView(l queue.LockState) ipc.Lock {
	v := ipc.Lock{Name: l.Name, Holders: []ipc.LockHolder{}, Waiters: []string{}}
	for _, h := range l.Holders {
		holder := ipc.LockHolder{PID: h.PID, Shared: h.Shared, Since: e.epoch.Add(h.Since).UTC()}
		if r := e.runs[h.Job]; r != nil {
			holder.Job, holder.Dispatcher = r.job.ID.String(), r.spec.Name
		}
		v.Holders = append(v.Holders, holder)
	}
	for _, id := range l.Waiters {
		v.Waiters = append(v.Waiters, ulid.ULID(id).String())
	}
	return v
}
