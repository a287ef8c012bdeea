package store

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/dispatchers/mode"
)

// The reasons why an Append did not work.
var (
	// ErrUnavailable: the journal cannot be written, and nothing of the record was.
	ErrUnavailable = errors.New("the journal cannot be written")
	// ErrInDoubt: the write or its sync failed, so a crash may bring the record back.
	ErrInDoubt = errors.New("the write failed half way")
)

const (
	allocAhead  = 256 << 10              // bytes allocated at once
	perJob      = 512                    // bytes that a job's start and end may take
	lazySync    = 100 * time.Millisecond // for what nobody waits for
	relaxedSync = time.Second
	probeEvery  = 250 * time.Millisecond // how often a full disk is asked for space
	compactMin  = 4 << 20
	format      = 1
)

// entry is one record on its way.
type entry struct {
	rec    Record
	dur    mode.Durability
	urgent bool
	done   func(error)
}

// rewrite is a snapshot on its way.
type rewrite struct {
	snap   Snapshot
	behind int  // entries that were queued before it: they are in the snapshot
	cure   bool // of a broken journal
	done   func(error)
}

// Journal is the append-only log. Append may be called from any goroutine; the
// file belongs to the writer's.
type Journal struct {
	dir  *Dir
	disk disk
	id   string // the store's

	mu        sync.Mutex
	pending   []entry
	rewriting *rewrite
	wake      chan struct{}
	closing   bool
	failed    error // the file is broken: only a rewrite helps
	full      error // no space for what needs space of its own
	onFail    func(error)
	onFull    func(error)
	hurried   bool               // what waits for a sync gets it now
	memory    map[ulid.ULID]bool // open jobs that are not written
	size      int64              // written
	base      int64              // size of the last snapshot
	compactAt time.Time          // not before

	// The writer's own; Close has them once it has ended.
	f         file
	ahead     int64 // bytes allocated at once
	damaged   bool  // what is called "journal" must be kept before it is replaced
	number    uint64
	batch     uint64 // number of the batch's first line
	opened    int    // open jobs that are written
	allocated int64
	safe      int64              // as much of it as is synced
	denied    map[ulid.ULID]bool // jobs that were refused
	probeAt   time.Time          // when to look for space again, zero = there is
	syncAt    time.Time          // when what is written must be synced, zero = it is
	late      []entry            // written, and told when that is synced
	rush      bool               // somebody waits for one of them
	ended     chan struct{}
}

// OpenJournal replays the journal into the state and opens it for writing. A
// journal that cannot be written now is open all the same: SetOnFail's function
// is told, and a Rewrite is the cure.
func (d *Dir) OpenJournal(s State) (*Journal, Report, error) {
	j := newJournal(d, osDisk{d.path})
	report, err := j.open(s)
	if err != nil {
		return nil, report, err
	}
	go j.write()
	return j, report, nil
}

func newJournal(d *Dir, on disk) *Journal {
	return &Journal{
		dir: d, disk: on, wake: make(chan struct{}, 1), ended: make(chan struct{}),
		memory: map[ulid.ULID]bool{}, denied: map[ulid.ULID]bool{}, ahead: allocAhead,
	}
}

// open reads what is there and begins a new file. So it is compact, and no
// doubt about the end of the old one remains.
func (j *Journal) open(s State) (Report, error) {
	report, size, err := j.replay(s)
	if err != nil {
		return report, err
	}
	j.number = report.number
	known := j.readID()
	j.identify(&report, known, size)
	if report.Damaged && size > 0 {
		j.damaged = true
		report.KeptAs, err = j.keep()
	}
	if err == nil {
		err = j.replace(s.Snapshot())
	}
	if err == nil && j.id != known {
		err = j.writeID()
	}
	j.failed = err
	return report, nil
}

// keep gives a damaged journal a name that stays, before it is replaced.
func (j *Journal) keep() (string, error) {
	if !j.damaged {
		return "", nil
	}
	name, err := j.disk.keep("journal")
	if err != nil {
		return "", fmt.Errorf("keep the damaged journal: %w", err)
	}
	j.damaged = false
	return name, nil
}

// identify compares the journal with the id that is kept beside it, so that an
// empty or missing one is not taken for a fresh start.
func (j *Journal) identify(r *Report, known string, size int64) {
	say := func(text string) { r.Damaged, r.Lost = true, append(r.Lost, text) }
	switch {
	case size == 0 && known == "":
		r.Fresh = true
	case size == 0:
		say("it is missing or empty; jobs and history before this start are lost")
	case r.store != "" && known != "" && known != unreadable && r.store != known:
		say("it belongs to another store than the file id says")
	}
	j.id = known
	if r.store != "" {
		j.id = r.store
	}
	if _, err := ulid.ParseStrict(j.id); err != nil {
		j.id = ulid.Make().String()
	}
}

// replay reads the journal.
func (j *Journal) replay(s State) (Report, int64, error) {
	var report Report
	f, err := j.disk.open("journal")
	if errors.Is(err, os.ErrNotExist) {
		return report, 0, nil
	}
	if err != nil {
		return report, 0, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.size()
	if err != nil {
		return report, 0, err
	}
	r := replay{state: s, report: &report}
	r.run(f, size)
	return report, size, nil
}

// unreadable stands for an id that is there and cannot be read. The journal's
// own is taken then, and written anew.
const unreadable = "?"

// readID reads the store's id, "" where there is none.
func (j *Journal) readID() string {
	f, err := j.disk.open("id")
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err != nil {
		return unreadable
	}
	defer func() { _ = f.Close() }()
	text := make([]byte, ulid.EncodedSize)
	if n, _ := f.ReadAt(text, 0); n < len(text) {
		return unreadable
	}
	return string(text)
}

// writeID puts the store's id beside the journal.
func (j *Journal) writeID() error {
	f, err := j.disk.create("id.new")
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(j.id))
	if err = errors.Join(err, f.sync(), f.Close()); err != nil {
		return err
	}
	if err := j.disk.rename("id.new", "id"); err != nil {
		return err
	}
	return j.disk.sync()
}

// SetOnFail says who is told when the journal breaks, or that it was broken
// already. Only a Rewrite cures it.
func (j *Journal) SetOnFail(fn func(error)) {
	j.mu.Lock()
	j.onFail = fn
	failed := j.failed
	j.mu.Unlock()
	if failed != nil {
		fn(failed)
	}
}

// SetOnFull says who is told when there is no space to accept jobs, and with
// nil when there is again. Starts and ends of those accepted go on meanwhile:
// their space was set aside.
func (j *Journal) SetOnFull(fn func(error)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.onFull = fn
}

// Append queues a record and never blocks. done is called on the writer's
// goroutine when the record is as durable as asked, or with the reason why it
// is not. What is not urgent may wait up to 100 ms for a sync, and so for its
// done; Hurry ends that.
func (j *Journal) Append(rec Record, dur mode.Durability, urgent bool, done func(error)) {
	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		go done(ErrUnavailable)
		return
	}
	j.pending = append(j.pending, entry{rec, j.level(rec, dur), urgent, done})
	j.mu.Unlock()
	j.poke()
}

// level is the durability that holds for a record. A job stays in memory, or
// stays written, as it was accepted, whatever its definition says by now: else
// a start would find no job, or a job that has ended would run again.
func (j *Journal) level(rec Record, dur mode.Durability) mode.Durability {
	switch {
	case rec.ID.IsZero():
		return dur
	case rec.Op == OpAccept:
		if dur == mode.Memory {
			j.memory[rec.ID] = true
		}
		return dur
	case j.memory[rec.ID]:
		if rec.Op == OpEnd {
			delete(j.memory, rec.ID)
		}
		return mode.Memory
	case dur == mode.Memory:
		return mode.Relaxed
	}
	return dur
}

// Rewrite writes the snapshot to a new file, which replaces the journal: as a
// compaction, and as the cure of a broken one. What was appended before is in
// the snapshot; what comes after goes to the new file.
func (j *Journal) Rewrite(s Snapshot, done func(error)) {
	j.mu.Lock()
	if j.closing || j.rewriting != nil {
		j.mu.Unlock()
		go done(ErrUnavailable)
		return
	}
	j.rewriting = &rewrite{snap: s, done: done, cure: j.failed != nil, behind: len(j.pending)}
	j.mu.Unlock()
	j.poke()
}

// Hurry has what was appended synced now: somebody waits for it.
func (j *Journal) Hurry() {
	j.mu.Lock()
	j.hurried = true
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
	return j.rewriting == nil && j.failed == nil && j.full == nil &&
		j.size > compactMin && j.size > 4*j.base && time.Now().After(j.compactAt)
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
	if j.f == nil {
		return j.failed
	}
	if j.failed != nil {
		return errors.Join(j.failed, j.f.Close())
	}
	err := j.seal()
	j.tellLate(err)
	return errors.Join(err, j.f.Close())
}
