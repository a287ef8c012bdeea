package store

import (
	"errors"
	"fmt"
	"time"
)

// rewrite replaces the file by a snapshot.
func (w *writer) rewrite(rw *rewrite) {
	err := w.health.broken()
	if err == nil || rw.repair { // what broke after the snapshot was made may not be in it
		err = w.replace(rw.snap)
	}
	if err == nil {
		_ = w.health.setFailed(nil)
	} else {
		w.health.putOffCompaction(time.Now())
	}
	w.inbox.rewritten()
	rw.done(err)
}

// replace writes a snapshot to a new file, syncs it, and puts it in the
// journal's place. On an error before that the old one stays in use.
func (w *writer) replace(s Snapshot) error {
	s = s.without(w.rejected)
	if _, err := w.keepDamaged(); err != nil {
		return err
	}
	f, err := w.disk.create("journal.new")
	if err != nil {
		return err
	}
	sw := &snapshotWriter{f: f, number: w.number}
	size := space{ahead: w.space.ahead}
	err = sw.write(w.id, s)
	if err == nil {
		err = size.allocate(f, sw.size, len(s.Open))
	}
	if err == nil {
		err = f.sync()
	}
	if err == nil {
		err = w.disk.rename("journal.new", "journal")
	}
	if err != nil { // give its space back: the disk may be full
		return errors.Join(err, f.Close(), w.disk.remove("journal.new"))
	}
	size.synced = size.allocated
	w.adopt(sw, size, len(s.Open))
	if err := w.disk.sync(); err != nil {
		// The old file has lost its name and the new one's is not durable:
		// neither may take another record.
		err = fmt.Errorf("%w: directory: %w", ErrInDoubt, err)
		if w.health.broken() == nil {
			w.fail(err, nil)
		}
		return err
	}
	w.completeSynced(nil) // they are in the snapshot
	return nil
}

// adopt goes on with the new file.
func (w *writer) adopt(sw *snapshotWriter, size space, opened int) {
	if w.file != nil {
		_ = w.file.Close()
	}
	w.file, w.number, w.size, w.space, w.opened = sw.f, sw.number, sw.size, size, opened
	w.syncer.synced()
	w.health.rewritten(sw.size)
	if w.health.isFull() != nil {
		w.health.setFull(nil)
	}
}

// snapshotWriter writes the beginning of a new file.
type snapshotWriter struct {
	f      file
	number uint64
	size   int64
	buf    []byte
}

// write writes head, records and the line that says that they are all there.
// Each is a batch of its own: the file gets its name only when it is synced,
// so nothing of this is ever a torn tail.
func (w *snapshotWriter) write(id string, s Snapshot) error {
	base := w.number + 2 + uint64(s.length())
	err := w.line(Record{Op: opHead, head: head{Format: format, Store: id, Base: base}, At: time.Now().UnixNano()})
	for rec := range s.records {
		if err != nil {
			return err
		}
		err = w.line(rec)
	}
	if err == nil {
		err = w.line(Record{Op: opBase})
	}
	if err != nil {
		return err
	}
	return w.flush()
}

// line adds a record, and writes what has come together.
func (w *snapshotWriter) line(rec Record) error {
	w.number++
	rec.Batch = w.number
	var err error
	if w.buf, err = appendLine(w.buf, rec); err != nil {
		return err
	}
	if len(w.buf) < 1<<20 {
		return nil
	}
	return w.flush()
}

func (w *snapshotWriter) flush() error {
	n, err := w.f.Write(w.buf)
	w.size += int64(n)
	w.buf = w.buf[:0]
	return err
}

// seal ends the file in order: everything synced, then a line that says so,
// and nothing behind it. Its length is never a multiple of a page, so that it
// cannot be taken for a journal in use.
func (w *writer) seal() error {
	if err := w.sync(); err != nil {
		return err
	}
	sw := &snapshotWriter{f: w.file, number: w.number, size: w.size}
	for first := true; first || (sw.size+int64(len(sw.buf)))%page == 0; first = false {
		if err := sw.line(Record{Op: opClose}); err != nil {
			return err
		}
	}
	if err := sw.flush(); err != nil {
		return err
	}
	// The shorter length may reach the disk before the line does.
	if err := w.file.sync(); err != nil {
		return err
	}
	return errors.Join(w.file.truncate(sw.size), w.file.sync())
}
