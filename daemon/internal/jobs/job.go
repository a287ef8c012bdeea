package jobs

import (
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// Job is one accepted run of a dispatcher, from its acceptance until its end is
// durable. What it is by its records is State; the exported fields are its
// owner's, for as long as it runs.
type Job struct {
	Dispatcher *Dispatcher
	Spec       *dispatchers.Spec // of the present attempt: kept while it runs, whatever a reload does
	Attempt    Attempt           // nil = not running

	state *store.Job    // never changed, replaced by State.Apply
	told  *store.Job    // before an end that is not durable yet; nil = state may be told
	gate  durable.Gate  // of all its records
	ended chan struct{} // closed once its end may be told; nil = nobody waits
}

// Attempt is a running attempt of a job, as views need it.
type Attempt interface {
	Progress() *ipc.Progress // what the job said last of itself, nil = nothing
	Deadline() time.Time     // when its timeout ends, zero = it does not
	Late() bool              // it runs longer than its timeout, and nobody may kill it
}

// ID is the job's id.
func (j *Job) ID() ulid.ULID { return j.state.ID }

// State is the job as its records say, durable or not: what is decided by.
func (j *Job) State() *store.Job { return j.state }

// Told is the job as people may know it. One whose end is not durable is still
// what it was: after a crash it would not have ended so.
func (j *Job) Told() *store.Job {
	if j.told != nil {
		return j.told
	}
	return j.state
}

// Gate keeps back what depends on the job's records.
func (j *Job) Gate() *durable.Gate { return &j.gate }

// Undecided reports that the job has ended just now, and that the journal has
// not said yet whether that may be told. Whoever asks for the job waits at its
// gate then. Everything else of a job is told at once.
func (j *Job) Undecided() bool { return j.told != nil && j.gate.Phase() == durable.Writing }

// AwaitEnd gives a channel that is closed once the job's end may be told, or
// when the job was withdrawn. Nobody has to say that they wait no longer.
func (j *Job) AwaitEnd() <-chan struct{} {
	if j.ended == nil {
		j.ended = make(chan struct{})
		if j.told == nil && j.state.State.Final() {
			close(j.ended)
		}
	}
	return j.ended
}

// Awaited reports whether somebody has asked for the job's end: it is urgent
// then.
func (j *Job) Awaited() bool { return j.ended != nil }

// Level is the durability that holds for the job's records, where d is that of its
// definition now. A job stays in memory, or is written, as it was accepted: else
// a start would find no job at replay, or a job that has ended would run again.
func (j *Job) Level(d mode.Durability) mode.Durability {
	switch {
	case j.state.Volatile:
		return mode.Memory
	case d == mode.Memory:
		return mode.Relaxed
	}
	return d
}

// settle says that the job's end may be told.
func (j *Job) settle() {
	j.told = nil
	if j.ended != nil {
		close(j.ended)
	}
}
