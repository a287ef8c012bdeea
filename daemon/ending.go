package daemon

import (
	"fmt"

	"dispatchd/daemon/internal/jobs"
)

// whenDecided calls fn when it is known what may be told of a job: at once,
// unless its end is on its way to the disk. The disk is told to hurry then.
func (s *state) whenDecided(job *jobs.Job, fn func()) {
	if job.Undecided() {
		s.journal.Settled(job.Gate(), func(error) { fn() })
		return
	}
	fn()
}

// closeJournal is what a stop does last on the loop. A journal that cannot be
// closed in order is read like one after a crash: that alone is no error, for
// nothing is lost that anybody was told of. Ends that are nowhere but here are
// one.
func (s *state) closeJournal() error {
	err := s.journal.Close()
	switch n := s.jobs.Undurable(); {
	case err == nil:
		return nil
	case n > 0:
		return fmt.Errorf("journal close: how %d jobs ended could not be written, the next start knows that only of those with a shim: %w", n, err)
	}
	s.log.Warn("journal: not closed in order; nothing is lost, and the next start reads it as after a crash", "error", err)
	return nil
}
