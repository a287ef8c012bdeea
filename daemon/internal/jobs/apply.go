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

// Apply folds one record into the state, live and at replay alike, and gives
// the job as it is now.
func (s *State) Apply(r store.Record) (*store.Job, error) {
	switch r.Op {
	case store.OpPause:
		s.paused[r.Dispatcher] = true
		return nil, nil
	case store.OpResume:
		delete(s.paused, r.Dispatcher)
		return nil, nil
	case store.OpKey:
		s.keys[store.Key{UID: r.KeyUID, Dispatcher: r.Dispatcher, Key: r.Key}] = store.Keyed{Job: r.ID, Hash: r.ArgHash, At: r.At}
		return nil, nil
	case store.OpCursor:
		s.setCursor(r.Dispatcher, r.Cursor)
		return nil, nil
	case store.OpAccept, store.OpDone:
		return s.add(r)
	case store.OpJoin, store.OpStart, store.OpRequeue, store.OpEnd:
		return s.change(r)
	}
	return nil, fmt.Errorf("%w %q", errNewerOp, r.Op)
}

// change folds a change of an open job in.
func (s *State) change(r store.Record) (*store.Job, error) {
	j := s.open[r.ID]
	if j == nil {
		return nil, fmt.Errorf("%s of job %s: %w", r.Op, r.ID, store.ErrOrphan)
	}
	next := with(j, r)
	s.remember(r, next)
	s.setCursor(next.Dispatcher, r.Cursor)
	if next.State.Final() {
		delete(s.open, r.ID)
		s.file(next)
		return next, nil
	}
	s.open[r.ID] = next
	return next, nil
}

// add takes in a whole job.
func (s *State) add(r store.Record) (*store.Job, error) {
	if r.Job == nil {
		return nil, fmt.Errorf("%s: without a job", r.Op)
	}
	if _, known := s.Job(r.Job.ID); known {
		return nil, fmt.Errorf("%s of job %s: %w", r.Op, r.Job.ID, errTwice)
	}
	if r.Op == store.OpDone {
		s.file(r.Job)
		return r.Job, nil
	}
	j := *r.Job
	s.seq++
	j.Seq = s.seq
	s.open[j.ID] = &j
	s.remember(r, &j)
	s.setCursor(j.Dispatcher, r.Cursor)
	return &j, nil
}

// setCursor notes where a schedule stands.
func (s *State) setCursor(dispatcher string, t *store.Cursor) {
	if t != nil && dispatcher != "" {
		s.cursors[dispatcher] = *t
	}
}

// with gives the job after a change of it. The one before stays as it is:
// somebody may be encoding it.
func with(j *store.Job, r store.Record) *store.Job {
	next := *j
	switch r.Op {
	case store.OpJoin:
		next.Coalesced++
		if r.By != nil && len(next.Notifiers) < maxNotifiers {
			next.Notifiers = append(slices.Clip(next.Notifiers), *r.By)
		}
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
