package jobs

import (
	"iter"
	"slices"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/store"
)

// Snapshot is the state with all its jobs, those that are kept in memory too. It
// copies pointers only.
func (s *State) Snapshot() store.Snapshot {
	snap := store.Snapshot{
		Open: slices.Collect(s.openStates()), Ended: s.archive.encoded(), Paused: s.Paused(), Drain: s.Drain,
		Keys: make(map[store.Key]store.Keyed, len(s.keys.all)), Cursors: map[string]store.Cursor{},
	}
	for k, v := range s.keys.all {
		snap.Keys[k] = store.Keyed{Job: v.Job, Hash: v.Hash, At: v.at, Lived: v.lived}
	}
	for name, d := range s.dispatchers {
		if d.Cursor != nil {
			snap.Cursors[name] = *d.Cursor
		}
	}
	return snap
}

// openStates gives the open jobs as their records say.
func (s *State) openStates() iter.Seq[*store.Job] {
	return func(yield func(*store.Job) bool) {
		for j := range s.Open() {
			if !yield(j.state) {
				return
			}
		}
	}
}

// Replay is the state as a journal fills it. What it holds then is durable.
func (s *State) Replay() store.State { return replay{s} }

// replay is a State at a start.
type replay struct{ state *State }

// Apply folds a record of the journal in.
func (r replay) Apply(rec store.Record) error { return r.state.replayed(rec) }

// Reset forgets everything.
func (r replay) Reset() { r.state.reset() }

// Known reports whether a job is open or in the history.
func (r replay) Known(id ulid.ULID) bool { return r.state.known(id) }

// Open gives the open jobs in order of acceptance.
func (r replay) Open() iter.Seq[*store.Job] { return r.state.openStates() }

// Snapshot gives all of it.
func (r replay) Snapshot() store.Snapshot { return r.state.Snapshot() }
