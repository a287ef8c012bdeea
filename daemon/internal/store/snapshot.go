package store

import (
	"maps"
	"slices"

	"github.com/oklog/ulid/v2"

	"dispatchd/ipc"
)

// Snapshot is a state at one moment. The journal's writer encodes it while the
// owner goes on, so nothing in it changes any more.
type Snapshot struct {
	Open    []*Job  // by order of acceptance
	Ended   []Ended // by id
	Paused  []string
	Drain   *ipc.Notifier // who had the daemon drain, nil = it does not
	Keys    map[Key]Keyed
	Cursors map[string]Cursor // by dispatcher
}

// Ended is a job of the history, encoded.
type Ended struct {
	ID    ulid.ULID
	Lived int64 // when it ended, by the store's Timeline
	Raw   []byte
}

// Key is an idempotency key.
type Key struct {
	UID             int
	Dispatcher, Key string
}

// Keyed is the job of an idempotency key.
type Keyed struct {
	Job  ulid.ULID
	Hash string // of the arguments
	At   int64
	// Lived is when it was used last, by the store's Timeline.
	Lived int64
}

// WithoutVolatile leaves out the open jobs that are kept in memory: their ends
// would not be written, so they would run again.
func (s Snapshot) WithoutVolatile() Snapshot {
	volatile := map[ulid.ULID]bool{}
	for _, j := range s.Open {
		if j.Volatile {
			volatile[j.ID] = true
		}
	}
	return s.without(volatile)
}

// without leaves out jobs and their keys.
func (s Snapshot) without(ids map[ulid.ULID]bool) Snapshot {
	if len(ids) == 0 {
		return s
	}
	s.Open = slices.DeleteFunc(slices.Clone(s.Open), func(j *Job) bool { return ids[j.ID] })
	s.Ended = slices.DeleteFunc(slices.Clone(s.Ended), func(e Ended) bool { return ids[e.ID] })
	s.Keys = maps.Clone(s.Keys)
	maps.DeleteFunc(s.Keys, func(_ Key, v Keyed) bool { return ids[v.Job] })
	return s
}

// length counts its records.
func (s *Snapshot) length() int {
	n := 0
	if s.Drain != nil {
		n = 1
	}
	return n + len(s.Ended) + len(s.Paused) + len(s.Keys) + len(s.Cursors) + len(s.Open)
}

// records gives the snapshot as records, in the order of a journal.
func (s *Snapshot) records(yield func(Record) bool) {
	for i := range s.Ended {
		if !yield(Record{Op: OpDone, ID: s.Ended[i].ID, Extra: Extra{Lived: s.Ended[i].Lived}, raw: s.Ended[i].Raw}) {
			return
		}
	}
	if s.Drain != nil && !yield(Record{Op: OpPause, Dispatcher: Everything, By: s.Drain}) {
		return
	}
	for _, name := range s.Paused {
		if !yield(Record{Op: OpPause, Dispatcher: name}) {
			return
		}
	}
	for k, v := range s.Keys {
		if !yield(Record{Op: OpKey, ID: v.Job, At: v.At, Extra: Extra{Lived: v.Lived}, Dispatcher: k.Dispatcher, Key: k.Key, KeyUID: k.UID, ArgHash: v.Hash}) {
			return
		}
	}
	for name, t := range s.Cursors {
		if !yield(Record{Op: OpCursor, Dispatcher: name, Cursor: &t}) {
			return
		}
	}
	for _, j := range s.Open {
		if !yield(Record{Op: OpAccept, ID: j.ID, At: j.CreatedAt, Job: j}) {
			return
		}
	}
}
