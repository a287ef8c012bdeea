package store

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// Durability says when an Append counts as done.
type Durability string

// The levels of durability.
const (
	Disk    Durability = "disk"    // synced
	Relaxed Durability = "relaxed" // written; synced within a second
	Memory  Durability = "memory"  // nothing is written
)

// ErrUnavailable answers an Append while the journal is broken.
var ErrUnavailable = errors.New("the journal cannot be written")

const (
	ahead       = 256 << 10              // bytes allocated at once
	lazySync    = 100 * time.Millisecond // for what nobody waits for
	relaxedSync = time.Second
	compactMin  = 4 << 20
	format      = 1
)

// file is what the journal needs of a file; tests put a failing one there.
type file interface {
	Write([]byte) (int, error)
	Close() error
	sync() error
	allocate(size int64) error
	truncate(size int64) error
}

// entry is one record on its way.
type entry struct {
	rec    Record
	dur    Durability
	urgent bool
	done   func(error)
}

// rewrite is a snapshot on its way.
type rewrite struct {
	snap Snapshot
	done func(error)
}

// Journal is the append-only log. Append may be called from any goroutine; the
// file belongs to one writer.
type Journal struct {
	dir    *Dir
	id     string // the store's
	create func() (file, error)

	mu        sync.Mutex
	pending   []entry
	rewriting *rewrite
	wake      chan struct{}
	closing   bool
	failed    error
	onFail    func(error)
	size      int64 // written
	base      int64 // size of the last snapshot
	due       bool  // a compaction was asked for and is not done

	// The writer's own.
	f         file
	batch     uint64
	allocated int64
	syncAt    time.Time // when what is written must be synced, zero = it is
	ended     chan struct{}
}

// OpenJournal replays the journal into the book and opens it for writing.
func (d *Dir) OpenJournal(_ Durability, b *Book) (*Journal, Report, error) {
	j := &Journal{dir: d, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	j.create = j.createFile
	report, err := j.open(b)
	if err != nil {
		return nil, report, err
	}
	go j.write()
	return j, report, nil
}

// open reads what is there and starts a new file, or goes on with the old one.
func (j *Journal) open(b *Book) (Report, error) {
	known, _ := os.ReadFile(j.dir.file("id"))
	j.id = string(known)
	text, err := os.ReadFile(j.dir.file("journal"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Report{}, err
	}
	report := replay(text, b)
	j.batch = report.batch
	report.Fresh = len(text) == 0 && j.id == ""
	if j.id == "" {
		j.id = report.store
	}
	switch {
	case report.Fresh:
	case report.store == "" && report.Records == 0 && !report.Damaged:
		report.Damaged = true
		report.Lost = append(report.Lost, "the journal is missing or empty; jobs and history before this start are lost")
	case report.store != j.id:
		report.Damaged = true
		report.Lost = append(report.Lost, "the journal's first line is not readable or of another store")
	}
	if report.Damaged && len(text) > 0 {
		name := j.dir.file("journal.damaged-" + time.Now().UTC().Format("20060102T150405.000"))
		if err := os.WriteFile(name, text, 0o600); err != nil {
			return report, fmt.Errorf("keep the damaged journal aside: %w", err)
		}
		report.KeptAs = name
	}
	if j.id == "" {
		j.id = ulid.Make().String()
	}
	// A start always begins a new file: it is compact, and no doubt about the
	// end of the old one remains.
	if err := j.replace(b.Snapshot()); err != nil {
		return report, err
	}
	return report, os.WriteFile(j.dir.file("id"), []byte(j.id), 0o600)
}

// SetOnFail says who is told, once, when the journal breaks.
func (j *Journal) SetOnFail(fn func(error)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.onFail = fn
}

// Append queues a record and never blocks. done is called on the writer's
// goroutine when the record is as durable as asked, or with the reason why it
// is not. What is not urgent may wait up to 100 ms for a sync.
func (j *Journal) Append(rec Record, dur Durability, urgent bool, done func(error)) {
	if dur == Memory {
		done(nil)
		return
	}
	j.mu.Lock()
	switch {
	case j.failed != nil:
		err := j.failed
		j.mu.Unlock()
		done(fmt.Errorf("%w: %w", ErrUnavailable, err))
		return
	case j.closing:
		j.mu.Unlock()
		done(ErrUnavailable)
		return
	}
	j.pending = append(j.pending, entry{rec, dur, urgent, done})
	j.mu.Unlock()
	j.poke()
}

// Rewrite writes the snapshot to a new file, which replaces the journal: as a
// compaction, and as the cure of a broken one. What was appended before is in
// the snapshot; what comes after goes to the new file.
func (j *Journal) Rewrite(s Snapshot, done func(error)) {
	j.mu.Lock()
	if j.closing || j.rewriting != nil {
		j.mu.Unlock()
		done(ErrUnavailable)
		return
	}
	j.rewriting, j.due = &rewrite{s, done}, true
	j.mu.Unlock()
	j.poke()
}

// poke wakes the writer.
func (j *Journal) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// CompactDue reports whether the journal has grown enough to be rewritten.
func (j *Journal) CompactDue() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.due && j.failed == nil && j.size > compactMin && j.size > 4*j.base
}

// Size is the length of what is written.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size
}

// Close writes and syncs what is queued, and gives back what was allocated.
func (j *Journal) Close() error {
	j.mu.Lock()
	j.closing = true
	j.mu.Unlock()
	j.poke()
	<-j.ended
	if j.failed != nil {
		_ = j.f.Close()
		return j.failed
	}
	return errors.Join(j.f.truncate(j.size), j.f.sync(), j.f.Close())
}
