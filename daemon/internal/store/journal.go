package store

import (
	"errors"
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

// format is the version of the file's format.
const format = 1

// Journal is the append-only log. Its methods may be called from any goroutine
// and, but for Close, never wait: they leave a request in the inbox. The file
// belongs to the writer, which is a goroutine of its own from OpenJournal until
// Close.
type Journal struct {
	inbox  inbox
	health health
	writer writer
}

// OpenJournal replays the journal into the state and opens it for writing, and
// has the timeline go on where it left off. A journal that cannot be written now is open all the same: SetOnFail's function
// is told, and a Rewrite repairs it.
func (d *Dir) OpenJournal(s State, t *Timeline) (*Journal, Report, error) {
	j := newJournal(osDisk{d.path}, allocAhead)
	j.writer.timeline = t
	j.writer.guard = func() error { _, err := d.KeepLock(); return err }
	report, err := j.writer.open(s)
	if err != nil {
		return nil, report, err
	}
	go j.writer.run()
	return j, report, nil
}

// newJournal makes a journal that is not open. Of its file, ahead bytes are
// allocated at once.
func newJournal(on disk, ahead int64) *Journal {
	j := &Journal{inbox: inbox{wake: make(chan struct{}, 1)}}
	j.writer = writer{
		inbox: &j.inbox, health: &j.health, disk: on, space: space{ahead: ahead},
		rejected: map[ulid.ULID]bool{}, ended: make(chan struct{}), guard: func() error { return nil },
	}
	return j
}

// SetOnFail says who is told when the journal breaks, or that it was broken
// already. Only a Rewrite repairs it.
func (j *Journal) SetOnFail(fn func(error)) {
	if failed := j.health.setOnFail(fn); failed != nil {
		fn(failed)
	}
}

// SetOnFull says who is told when there is no space to accept jobs, and with
// nil when there is again. Starts and ends of those accepted go on meanwhile:
// their space was set aside.
func (j *Journal) SetOnFull(fn func(error)) { j.health.setOnFull(fn) }

// Append queues a record and wakes the writer; it never blocks. Callers that add
// several records call it once a record, the writer groups them. done is called
// on the writer's goroutine when the record is as durable as asked, or with the
// reason why it is not. What is not urgent may wait up to 100 ms for a sync, and
// so for its done; Hurry ends that.
func (j *Journal) Append(rec Record, dur mode.Durability, urgent bool, done func(error)) {
	if !j.inbox.append(rec, dur, urgent, done) {
		go done(ErrUnavailable)
	}
}

// Rewrite writes the snapshot to a new file, which replaces the journal: as a
// compaction, and as the repair of a broken one. What was appended before is in
// the snapshot; what comes after goes to the new file.
func (j *Journal) Rewrite(s Snapshot, done func(error)) {
	if !j.inbox.rewrite(&rewrite{snap: s, done: done, repair: j.health.broken() != nil}) {
		go done(ErrUnavailable)
	}
}

// Hurry has what was appended synced now: somebody waits for it.
func (j *Journal) Hurry() { j.inbox.requestSync() }

// Look has the writer see whether the journal's name still means its file, and put
// it there again if not. It does so by itself before it writes.
func (j *Journal) Look() { j.inbox.requestLook() }

// SetOnReinstated says who is told that the journal's file was gone from its place:
// where what was found there instead is kept, "" = nothing was, and nil if the file
// is in its place again. It is called on the writer's goroutine.
func (j *Journal) SetOnReinstated(fn func(aside string, err error)) { j.health.setOnReinstated(fn) }

// CompactDue reports whether the journal has grown enough to be rewritten.
func (j *Journal) CompactDue() bool {
	return !j.inbox.isRewriting() && j.health.compactDue(time.Now())
}

// Close writes and syncs what is queued, and gives back what was allocated.
func (j *Journal) Close() error {
	j.inbox.close()
	<-j.writer.ended
	return j.writer.close()
}
