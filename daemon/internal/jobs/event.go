package jobs

import (
	"slices"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/store"
)

// Event is a record that was applied and is durable.
type Event struct {
	Number     uint64 // of the record, in this life of the daemon
	Op         store.Op
	Dispatcher string
	Before     *store.Job // nil: a new job, or a record that is about none
	After      *store.Job // nil: a record that is about no job
}

// feed publishes events in the order of records, each once it is durable.
type feed struct {
	last        uint64
	subscribers []func(Event)
	pending     []*pendingEvent // oldest first
}

// pendingEvent is an event whose record is not durable, or one behind such.
type pendingEvent struct {
	Event
	gate    durable.Gate // of this record alone: its job's counts others too
	durable bool
}

// Subscribe has fn called with each record that is applied from now on, once it
// is durable, in the order of records. fn must not wait.
//
// A record that a full disk refused and that is in the state all the same, such
// as a pause, is durable with the next whole journal: until then it holds back
// those behind it.
func (s *State) Subscribe(fn func(Event)) {
	s.events.subscribers = append(s.events.subscribers, fn)
}

// add notes an applied record. Without a subscriber it is counted and nothing
// else.
func (f *feed) add(r store.Record, before *store.Job, j *Job) {
	f.last++
	if len(f.subscribers) == 0 {
		return
	}
	e := &pendingEvent{Event: Event{Number: f.last, Op: r.Op, Dispatcher: r.Dispatcher, Before: before}}
	if j != nil {
		e.Dispatcher, e.After = j.Dispatcher.Name, j.state
	}
	e.gate.OnDurable(func() {
		e.durable = true
		f.publish()
	})
	f.pending = append(f.pending, e)
}

// newest is the event of the record that was applied last, nil = nobody listens.
func (f *feed) newest() *pendingEvent {
	if n := len(f.pending); n > 0 && f.pending[n-1].Number == f.last {
		return f.pending[n-1]
	}
	return nil
}

// publish hands over what is durable, up to the first event that is not.
func (f *feed) publish() {
	for len(f.pending) > 0 && f.pending[0].durable {
		e := f.pending[0].Event
		f.pending[0] = nil
		f.pending = f.pending[1:]
		for _, fn := range f.subscribers {
			fn(e)
		}
	}
}

// withdraw drops the events of a job that was never there.
func (f *feed) withdraw(id ulid.ULID) {
	f.pending = slices.DeleteFunc(f.pending, func(e *pendingEvent) bool { return e.After != nil && e.After.ID == id })
	f.publish()
}

// revert drops the newest event of a job, or of a dispatcher, whose record could
// not be journaled.
func (f *feed) revert(r store.Record) {
	for i := len(f.pending) - 1; i >= 0; i-- {
		e := f.pending[i]
		of := e.After == nil && e.Dispatcher == r.Dispatcher
		if e.After != nil {
			of = e.After.ID == r.ID
		}
		if of && e.gate.Phase() == durable.Failed {
			f.pending = slices.Delete(f.pending, i, i+1)
			break
		}
	}
	f.publish()
}
