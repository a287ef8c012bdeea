package jobs

import (
	"iter"
	"maps"
	"slices"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/store"
)

// Whole is the state with all its jobs. Those that were kept in memory are
// written from then on: the next image of the program has them from there.
func (s *State) Whole() store.Snapshot {
	s.settle()
	return store.Snapshot{Open: s.Open(), Ended: s.encoded(), Paused: s.Paused(), Keys: maps.Clone(s.keys), Cursors: maps.Clone(s.cursors)}
}

// Snapshot is Whole without the open jobs that are kept in memory.
func (s *State) Snapshot() store.Snapshot { return s.Whole().WithoutVolatile() }

// encoded lists the history.
func (s *State) encoded() []store.Ended {
	list := make([]store.Ended, len(s.history))
	for i := range s.history {
		list[i] = store.Ended{ID: s.history[i].id, Raw: s.history[i].raw}
	}
	return list
}

// Replay is the state as a journal fills it.
func (s *State) Replay() store.State { return replay{s} }

// replay is a State at a start.
type replay struct{ state *State }

// Apply folds a record of the journal in.
func (r replay) Apply(rec store.Record) error {
	_, err := r.state.Apply(rec)
	return err
}

// Reset forgets everything.
func (r replay) Reset() { r.state.reset() }

// Known reports whether a job is open or in the history.
func (r replay) Known(id ulid.ULID) bool {
	_, known := r.state.Job(id)
	return known
}

// Open gives the open jobs in order of acceptance.
func (r replay) Open() iter.Seq[*store.Job] { return slices.Values(r.state.Open()) }

// Snapshot gives all of it.
func (r replay) Snapshot() store.Snapshot { return r.state.Whole() }
