package store

import (
	"errors"
	"iter"
	"time"

	"github.com/oklog/ulid/v2"
)

// State is what the records of a journal add up to. OpenJournal fills it, on the
// goroutine of its caller; whoever keeps jobs implements it.
type State interface {
	// Apply folds one record in. It gives ErrOrphan for one that speaks of a job
	// which is not open: where lines are lost, its acceptance may be among them.
	// Any other error is of a record that this version cannot take in.
	Apply(Record) error
	// Reset forgets everything: lines that are not in their order are applied
	// once more.
	Reset()
	// Known reports whether a job is open or in the history.
	Known(id ulid.ULID) bool
	// Open gives the open jobs in order of acceptance.
	Open() iter.Seq[*Job]
	// Snapshot gives all of it, for the new file.
	Snapshot() Snapshot
}

// ErrOrphan is what State.Apply gives for a change of a job that is not open.
var ErrOrphan = errors.New("not an open job")

// Retention bounds the history. 0 = no bound of that sort.
type Retention struct {
	Count int
	Age   time.Duration // by the store's Timeline
	Bytes int64
	Floor int // of each dispatcher, so many of the last jobs stay
}
