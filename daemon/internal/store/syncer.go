package store

import (
	"fmt"
	"time"
)

const (
	lazySync    = 100 * time.Millisecond // for what nobody waits for
	relaxedSync = time.Second
)

// syncer knows what is written and not yet synced, and who waits for that. It
// belongs to the writer.
type syncer struct {
	due          time.Time // when what is written must be synced, zero = it is
	awaitingSync []entry   // written, and answered when that is synced
	requested    bool      // somebody waits for one of them
}

// written notes that something is being written that must be synced within a
// time.
func (s *syncer) written(now time.Time, within time.Duration) {
	if at := now.Add(within); s.due.IsZero() || at.Before(s.due) {
		s.due = at
	}
}

// clean reports whether all that is written is synced.
func (s *syncer) clean() bool { return s.due.IsZero() }

// isDue reports whether it is time for a sync: at once if somebody waits for what
// is not synced. Nobody waits any more then: what they wait for is written, and
// answered with this sync.
func (s *syncer) isDue(now time.Time) bool {
	if s.requested && len(s.awaitingSync) > 0 {
		s.due = now
	}
	s.requested = false
	return !s.due.IsZero() && !now.Before(s.due)
}

// synced notes that all that is written is synced, or given up.
func (s *syncer) synced() { s.due = time.Time{} }

// release gives those that wait for a sync.
func (s *syncer) release() []entry {
	list := s.awaitingSync
	s.awaitingSync = nil
	return list
}

// inDoubt is the error of a write or sync that failed half way.
func inDoubt(err error) error { return fmt.Errorf("%w: %w", ErrInDoubt, err) }
