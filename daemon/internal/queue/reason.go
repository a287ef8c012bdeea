package queue

import (
	"fmt"
	"slices"
)

// ReasonKind says what a start was missing.
type ReasonKind uint8

// The kinds of a Reason.
const (
	LockHeld    ReasonKind = iota // a process outside holds Reason.Lock
	NoJournal                     // the record of the start could not be written
	NoResources                   // the system is short of processes, descriptors or memory
	NoRoom                        // a disk has less room than is kept free
	Condition                     // what the definition asks for before a start does not hold
)

// Reason is why the owner could not start a job. Only LockHeld has a Lock and,
// where it is known, the PID of its holder.
type Reason struct {
	Kind ReasonKind
	Lock string
	PID  int
}

// cause is the reason without its holder: what two jobs that miss the same
// thing have in common.
func (r Reason) cause() Reason { return Reason{Kind: r.Kind, Lock: r.Lock} }

// StateError says that the owner's event does not fit the state of its job. The
// event has changed nothing. It is a fault of the owner: one to be logged.
type StateError struct {
	Event string // the method
	ID    ID
	State string // of the job; "unknown" where there is none
}

// Error names event, job and state.
func (e *StateError) Error() string {
	return fmt.Sprintf("queue: %s out of turn: job %x is %s", e.Event, e.ID[:], e.State)
}

// outOfTurn makes the error of an event that does not fit its job, or has none.
func outOfTurn(event string, id ID, j *job) error {
	e := &StateError{Event: event, ID: id, State: "unknown"}
	if j != nil {
		e.State = j.state.String()
	}
	return e
}

// expect finds the job of an event that fits some states only.
func (c *Core) expect(event string, id ID, states ...state) (*job, error) {
	j := c.jobs[id]
	if j != nil && slices.Contains(states, j.state) {
		return j, nil
	}
	return nil, outOfTurn(event, id, j)
}
