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
func (s *state) whenDecided(id queue.ID, fn func()) {
	if en := s.ending[id]; en != nil && !en.broken {
		en.decided = append(en.decided, fn)
		s.journal.Hurry()
		return
	}
	fn()
}

// told is a job as people may know it. One whose end cannot be written is still
// what it was: after a crash it would not have ended so.
func (s *state) told(job *store.Job) *store.Job {
	if en := s.ending[queue.ID(job.ID)]; en != nil {
		return en.before
	}
	return job
}

// written notes whether the record of a job's end got to the disk.
func (s *state) written(id queue.ID, err error) {
	en := s.ending[id]
	switch {
	case en == nil: // it was withdrawn, or a whole journal was written meanwhile
	case err == nil:
		s.certain(id)
	default:
		en.broken = true
		en.decide()
	}
}

// certain tells of an end that is durable.
func (s *state) certain(id queue.ID) {
	en := s.ending[id]
	if en == nil {
		return
	}
	delete(s.ending, id)
	t := s.tally(en.before.Dispatcher)
	t.lastJob, t.lastState = en.before.ID.String(), en.state
	en.decide()
	s.wake(id)
}

// forgetEnd is for a job that was withdrawn: who saw it in a list, and waits for
// its end, does not wait for ever.
func (s *state) forgetEnd(id queue.ID) {
	if en := s.ending[id]; en != nil {
		delete(s.ending, id)
		en.decide()
	}
	s.wake(id)
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
func (s *state) wake(id queue.ID) {
	for _, ch := range s.waiters[id] {
		close(ch)
	}
	delete(s.waiters, id)
}

// ends lists the jobs whose end is not durable.
func (s *state) ends() []queue.ID { return slices.Collect(maps.Keys(s.ending)) }

// allCertain tells of ends that came to the disk with a whole journal.
func (s *state) allCertain(ids []queue.ID) {
	for _, id := range ids {
		s.certain(id)
	}
}

// closeJournal is what a stop does last, in steps between which the loop does
// what the journal has sent. First it tries once more to write what a broken
// journal could not take. A journal that cannot be closed in order is read like
// one after a crash: that alone is no error, for nothing is lost that anybody was
// told of. Ends that are nowhere but here are one.
func closeJournal(result *error) []func(*state) {
	var broken error
	return []func(*state){
		(*state).saveWhatIsLeft,
		func(s *state) { broken = s.journal.Close() },
		func(s *state) {
			switch n := len(s.ending); {
			case broken == nil:
			case n > 0:
				*result = fmt.Errorf("journal close: how %d jobs ended could not be written, the next start knows that only of those with a shim: %w", n, broken)
			default:
				s.log.Warn("journal: not closed in order; nothing is lost, and the next start reads it as after a crash", "error", broken)
			}
		},
	}
}

// saveWhatIsLeft writes a whole journal where the present one is broken.
func (s *state) saveWhatIsLeft() {
	if s.journalErr == nil {
		return
	}
	saved := make(chan error, 1)
	s.journal.Rewrite(s.book.Snapshot(), func(err error) { saved <- err })
	if <-saved == nil {
		s.allCertain(s.ends())
	}
}
