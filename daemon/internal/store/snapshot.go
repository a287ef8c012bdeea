package store

import (
	"maps"
	"slices"

	"github.com/oklog/ulid/v2"
)

// Snapshot is the book at one moment, to be encoded by somebody else.
type Snapshot struct {
	open    []*Job
	history []ended
	paused  []string
	keys    map[Key]keyed
	ticks   map[string]Tick
}

// Whole is the book with all its jobs. Those that were kept in memory are
// written from then on: the next image of the program has them from there.
func (b *Book) Whole() Snapshot {
	b.settle()
	return Snapshot{open: b.Open(), history: slices.Clone(b.history), paused: b.Paused(), keys: maps.Clone(b.keys), ticks: maps.Clone(b.ticks)}
}

// Snapshot is Whole without the open jobs that are kept in memory.
func (b *Book) Snapshot() Snapshot { return b.Whole().WithoutVolatile() }

// WithoutVolatile leaves out the open jobs that are kept in memory: their ends
// would not be written, so they would run again.
func (s Snapshot) WithoutVolatile() Snapshot {
	volatile := map[ulid.ULID]bool{}
	for _, j := range s.open {
		if j.Volatile {
			volatile[j.ID] = true
		}
	}
	s.leaveOut(volatile)
	return s
}

// leaveOut takes jobs and their keys out of it.
func (s *Snapshot) leaveOut(ids map[ulid.ULID]bool) {
	if len(ids) == 0 {
		return
	}
	s.open = slices.DeleteFunc(s.open, func(j *Job) bool { return ids[j.ID] })
	s.history = slices.DeleteFunc(s.history, func(e ended) bool { return ids[e.id] })
	maps.DeleteFunc(s.keys, func(_ Key, v keyed) bool { return ids[v.id] })
}

// opened counts the open jobs in it.
func (s *Snapshot) opened() int { return len(s.open) }

// length counts its records.
func (s *Snapshot) length() int {
	return len(s.history) + len(s.paused) + len(s.keys) + len(s.ticks) + len(s.open)
}

// records gives the snapshot as records, in the order of a journal.
func (s *Snapshot) records(yield func(Record) bool) {
	for i := range s.history {
		if !yield(Record{Op: opDone, ID: s.history[i].id, raw: s.history[i].raw}) {
			return
		}
	}
	for _, name := range s.paused {
		if !yield(Record{Op: OpPause, Dispatcher: name}) {
			return
		}
	}
	for k, v := range s.keys {
		if !yield(Record{Op: opKey, ID: v.id, At: v.at, Dispatcher: k.Dispatcher, Key: k.Key, KeyUID: k.UID, ArgHash: v.hash}) {
			return
		}
	}
	for name, t := range s.ticks {
		if !yield(Record{Op: OpTick, Dispatcher: name, Tick: &t}) {
			return
		}
	}
	for _, j := range s.open {
		if !yield(Record{Op: OpAccept, ID: j.ID, At: j.CreatedAt, Job: j}) {
			return
		}
	}
}
