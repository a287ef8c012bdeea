package jobs

import (
	"errors"
	"fmt"
	"slices"

	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// The reasons why a good record does not fit into the state, beside
// store.ErrOrphan.
var (
	errTwice   = errors.New("accepted twice")
	errNewerOp = errors.New("unknown operation")
)

const (
	maxNotifiers = 64 // bounds who is remembered of a job that thousands joined; the count goes on
	maxTries     = 16 // bounds what is remembered of a job that is tried for ever
)

// Apply folds a record in that the owner gives to the journal next, and gives its
// job, nil for a record that is about none. An error has changed nothing.
func (s *State) Apply(r store.Record) (*Job, error) {
	before, j, err := s.change(r)
	if err != nil {
		return nil, err
	}
	s.count(r.Op, j)
	s.events.add(r, before, j)
	if j != nil && j.state.State.Final() {
		j.told = before
		j.gate.OnDurable(func() { s.settled(j) })
	}
	return j, nil
}

// Revert takes a record back that was applied and could not be journaled, such
// as a start. r is what undoes it; it is not journaled either. Neither is seen
// in events.
func (s *State) Revert(r store.Record) (*Job, error) {
	_, j, err := s.change(r)
	if err == nil {
		s.events.revert(r)
	}
	return j, err
}

// replayed folds a record of the journal in, which is durable.
func (s *State) replayed(r store.Record) error {
	_, j, err := s.change(r)
	if err == nil && j != nil && j.state.State.Final() {
		delete(s.jobs, j.ID())
		j.Dispatcher.ended(j.state)
	}
	return err
}

// change is the seam that every record passes, live and at replay. It gives the
// job, and what it was before.
func (s *State) change(r store.Record) (before *store.Job, j *Job, err error) {
	switch r.Op {
	case store.OpPause, store.OpResume:
		pause(s, r)
	case store.OpCursor:
		s.setCursor(r.Dispatcher, r.Cursor)
	case store.OpKey:
		s.keys.set(r, s.dispatcher(r.Dispatcher))
	case store.OpAccept, store.OpDone:
		j, err = s.add(r)
	case store.OpJoin, store.OpStart, store.OpRequeue, store.OpEnd:
		before, j, err = s.move(r)
	default:
		err = fmt.Errorf("%w %q", errNewerOp, r.Op)
	}
	return before, j, err
}

// pause folds a pause in, of one dispatcher or of everything, or the end of one.
func pause(s *State, r store.Record) {
	on := r.Op == store.OpPause
	switch {
	case r.Dispatcher != store.Everything:
		s.dispatcher(r.Dispatcher).Paused = on
	case !on:
		s.Drain = nil
	case r.By != nil:
		s.Drain = r.By
	default: // of a version that did not know it
		s.Drain = &ipc.Notifier{}
	}
}

// add takes in a whole job.
func (s *State) add(r store.Record) (*Job, error) {
	if r.Job == nil {
		return nil, fmt.Errorf("%s: without a job", r.Op)
	}
	if s.known(r.Job.ID) {
		return nil, fmt.Errorf("%s of job %s: %w", r.Op, r.Job.ID, errTwice)
	}
	if r.Job.ID.Compare(s.lastID) > 0 {
		s.lastID = r.Job.ID
	}
	if r.Op == store.OpDone {
		d := s.dispatcher(r.Job.Dispatcher)
		s.archive.add(r.Job, d, r.Lived)
		d.ended(r.Job)
		return nil, nil
	}
	state := *r.Job
	s.accepted++
	state.Seq = s.accepted
	j := &Job{state: &state, Dispatcher: s.dispatcher(state.Dispatcher)}
	s.jobs[state.ID] = j
	s.open++
	j.Dispatcher.open++
	s.hold(j.Dispatcher, len(state.Arguments))
	s.note(r, j)
	return j, nil
}

// move folds a change of an open job in.
func (s *State) move(r store.Record) (before *store.Job, j *Job, err error) {
	j = s.jobs[r.ID]
	if j == nil || j.state.State.Final() {
		return nil, nil, fmt.Errorf("%s of job %s: %w", r.Op, r.ID, store.ErrOrphan)
	}
	before = j.state
	j.state = with(before, r)
	s.hold(j.Dispatcher, len(j.state.Arguments)-len(before.Arguments))
	s.note(r, j)
	if j.state.State.Final() {
		s.archive.add(j.state, j.Dispatcher, r.Lived)
		s.close(j)
	}
	return before, j, nil
}

// note keeps what a record says beside its job: a key, where a schedule stands.
func (s *State) note(r store.Record, j *Job) {
	if r.Key != "" {
		s.keys.set(r, j.Dispatcher)
	}
	s.setCursor(j.Dispatcher.Name, r.Cursor)
	if j.state.State == ipc.Running {
		j.Dispatcher.Running[j] = struct{}{}
	} else {
		delete(j.Dispatcher.Running, j)
	}
}

// setCursor notes where a schedule stands.
func (s *State) setCursor(name string, c *store.Cursor) {
	if c != nil && name != "" {
		s.dispatcher(name).Cursor = c
	}
}

// with gives the job after a change of it. The one before stays as it is:
// somebody may be encoding it.
func with(j *store.Job, r store.Record) *store.Job {
	next := *j
	switch r.Op {
	case store.OpJoin:
		join(&next, r)
	case store.OpStart:
		next.State, next.Attempt, next.NotBefore = ipc.Running, r.Attempt, 0
		next.Run = &store.Outcome{StartedAt: r.At, Epoch: r.Epoch}
	case store.OpRequeue:
		next.State, next.Attempt, next.NotBefore = ipc.Queued, r.Attempt, r.NotBefore
		next.Run = r.Run
		if r.Run != nil && r.Run.EndedAt != 0 {
			next.Tries = tried(j, r.Attempt, r.Run)
		}
	case store.OpEnd:
		next.State, next.Run = r.State, r.Run
	}
	return &next
}

// join adds a notify to a job, or takes one back.
func join(next *store.Job, r store.Record) {
	switch {
	case r.Arguments == nil: // those that it has
	case string(r.Arguments) == "null":
		next.Arguments = nil
	default:
		next.Arguments = r.Arguments
	}
	if r.Undo {
		next.Coalesced--
		if n := len(next.Notifiers) - 1; n >= 0 && r.By != nil && next.Notifiers[n] == *r.By {
			next.Notifiers = slices.Clip(next.Notifiers[:n])
		}
		return
	}
	next.Coalesced++
	if r.By != nil && len(next.Notifiers) < maxNotifiers {
		next.Notifiers = append(slices.Clip(next.Notifiers), *r.By)
	}
}

// tried gives the tries of a job with one more.
func tried(j *store.Job, number int32, r *store.Outcome) []store.Try {
	why := r.Error
	if why != nil { // details are kept of the last attempt only
		why = &ipc.JobError{Kind: why.Kind, Message: why.Message}
	}
	tries := append(slices.Clip(j.Tries), store.Try{
		Number: number, StartedAt: r.StartedAt, EndedAt: r.EndedAt, ExitCode: r.ExitCode, Signal: r.Signal, Error: why,
	})
	return tries[max(0, len(tries)-maxTries):]
}
