package queue

import "time"

// Effect is a decision that the owner has to make real, in the given order.
type Effect interface{ effect() }

// Start wants a job started: locks on disk, journal, child. The owner answers
// it once, with Started, Busy or Rerun.
type Start struct {
	ID      ID
	Attempt int // 1 for the first
}

// Stop wants the child of an active job signalled, because the job was canceled.
// There may be none yet, where the Start is not answered.
type Stop struct{ ID ID }

// Expire ends a queued job that waited longer than its queue timeout.
type Expire struct {
	ID  ID
	For Wait // what it waited for, without place and estimate
}

// Drop ends a queued job that was canceled.
type Drop struct{ ID ID }

// Requeue turns an active job back into a queued one.
type Requeue struct {
	ID      ID
	Attempt int           // attempts that have ended
	After   time.Duration // the pause before the next
}

// Finish ends an active job for good; the owner knows with which state.
type Finish struct{ ID ID }

func (Start) effect()   {}
func (Stop) effect()    {}
func (Expire) effect()  {}
func (Drop) effect()    {}
func (Requeue) effect() {}
func (Finish) effect()  {}
