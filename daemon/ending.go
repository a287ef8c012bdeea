package daemon

import (
	"fmt"
	"maps"
	"slices"

	"dispatchd/daemon/internal/queue"
	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// ending is a job that has ended, while its end is not durable. Nobody is told
// of an end that a crash could take back.
type ending struct {
	before  *store.Job // as it was
	state   ipc.State  // as what it ended
	broken  bool       // the end could not be written: it is in the book, and comes with the next whole journal
	decided []func()   // who wants to know whether it is durable or broken
}

// whenDecided calls fn when it is known what may be told of a job: at once,
// unless its end is on its way to the disk. The disk is told to hurry then.
func (e *engine) whenDecided(id queue.ID, fn func()) {
	if en := e.ending[id]; en != nil && !en.broken {
		en.decided = append(en.decided, fn)
		e.journal.Hurry()
		return
	}
	fn()
}

// told is a job as people may know it. One whose end cannot be written is still
// what it was: after a crash it would not have ended so.
func (e *engine) told(job *store.Job) *store.Job {
	if en := e.ending[queue.ID(job.ID)]; en != nil {
		return en.before
	}
	return job
}

// written notes whether the record of a job's end got to the disk.
func (e *engine) written(id queue.ID, err error) {
	en := e.ending[id]
	switch {
	case en == nil: // it was withdrawn, or a whole journal was written meanwhile
	case err == nil:
		e.certain(id)
	default:
		en.broken = true
		en.decide()
	}
}

// certain tells of an end that is durable.
func (e *engine) certain(id queue.ID) {
	en := e.ending[id]
	if en == nil {
		return
	}
	delete(e.ending, id)
	t := e.tally(en.before.Dispatcher)
	t.lastJob, t.lastState = en.before.ID.String(), en.state
	en.decide()
	e.wake(id)
}

// forgetEnd is for a job that was withdrawn: who saw it in a list, and waits for
// its end, does not wait for ever.
func (e *engine) forgetEnd(id queue.ID) {
	if en := e.ending[id]; en != nil {
		delete(e.ending, id)
		en.decide()
	}
	e.wake(id)
}

// decide calls all who wanted to know.
func (en *ending) decide() {
	list := en.decided
	en.decided = nil
	for _, fn := range list {
		fn()
	}
}

// wake wakes those who wait for a job's end.
func (e *engine) wake(id queue.ID) {
	for _, ch := range e.waiters[id] {
		close(ch)
	}
	delete(e.waiters, id)
}

// ends lists the jobs whose end is not durable.
func (e *engine) ends() []queue.ID { return slices.Collect(maps.Keys(e.ending)) }

// allCertain tells of ends that came to the disk with a whole journal.
func (e *engine) allCertain(ids []queue.ID) {
	for _, id := range ids {
		e.certain(id)
	}
}

// putDown closes the journal. Before that it tries once more to write what a
// broken one could not take. A journal that cannot be closed in order is read
// like one after a crash: that alone is no error, for nothing is lost that
// anybody was told of. Ends that are nowhere but here are one.
func (e *engine) putDown() error {
	e.runPosted()
	if e.journalErr != nil {
		saved := make(chan error, 1)
		e.journal.Rewrite(e.book.Snapshot(), func(err error) { saved <- err })
		if <-saved == nil {
			e.allCertain(e.ends())
		}
	}
	err := e.journal.Close()
	e.runPosted()
	switch n := len(e.ending); {
	case err == nil:
		return nil
	case n > 0:
		return fmt.Errorf("journal close: how %d jobs ended could not be written, the next start knows that only of those with a shim: %w", n, err)
	}
	e.log.Warn("journal: not closed in order; nothing is lost, and the next start reads it as after a crash", "error", err)
	return nil
}

// runPosted runs what was posted to the loop, after the loop's end.
func (e *engine) runPosted() {
	for _, fn := range e.takePosted() {
		fn()
	}
}
