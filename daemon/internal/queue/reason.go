package queue

import "fmt"

// ReasonKind says what a start was missing.
type ReasonKind uint8

// The kinds of a Reason.
const (
	LockHeld    ReasonKind = iota // a process outside holds Reason.Lock
	NoJournal                     // the record of the start could not be written
	NoResources                   // the system is short of processes, descriptors or memory
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

// String is the state as a StateError names it.
func (s state) String() string {
	return [...]string{ready: "ready", debounce: "debounce", backoff: "backoff", starting: "starting", running: "running"}[s]
}

// expect finds the job of an event that fits some states only.
func (c *Core) expect(event string, id ID, states ...state) (*job, error) {
	if j := c.jobs[id]; j != nil {
		for _, s := range states {
			if j.state == s {
				return j, nil
			}
		}
	}
	return nil, c.outOfTurn(event, id)
}

// outOfTurn makes the error of an event that does not fit.
func (c *Core) outOfTurn(event string, id ID) error {
	e := &StateError{Event: event, ID: id, State: "unknown"}
	if j := c.jobs[id]; j != nil {
		e.State = j.state.String()
	}
	return e
}
