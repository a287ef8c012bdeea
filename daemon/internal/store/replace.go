package store

import (
	"errors"
	"fmt"
	"time"
)

// compactPause is how long a compaction that failed is not tried again.
const compactPause = 10 * time.Second

// rewrite replaces the file by a snapshot.
func (j *Journal) rewrite(rw *rewrite) {
	err := j.broken()
	if err == nil || rw.cure { // what broke after the snapshot was made may not be in it
		err = j.replace(rw.snap)
	}
	j.mu.Lock()
	j.rewriting = nil
	if err == nil {
		j.failed = nil
	} else {
		j.compactAt = time.Now().Add(compactPause)
	}
	j.mu.Unlock()
	rw.done(err)
}

// replace writes a snapshot to a new file, syncs it, and puts it in the
// journal's place. On an error before that the old one stays in use.
func (j *Journal) replace(s Snapshot) error {
	s = s.without(j.denied)
	if _, err := j.keep(); err != nil {
		return err
	}
	f, err := j.disk.create("journal.new")
	if err != nil {
		return err
	}
	w := &snapshotWriter{f: f, number: j.number}
	err = w.write(j.id, s)
	if err == nil {
		w.allocated, err = j.claim(f, w.size, len(s.Open), 0)
	}
	if err == nil {
		err = f.sync()
	}
	if err == nil {
		err = j.disk.rename("journal.new", "journal")
	}
	if err != nil { // give its space back: the disk may be full
		return errors.Join(err, f.Close(), j.disk.remove("journal.new"))
	}
	j.adopt(w, len(s.Open))
	if err := j.disk.sync(); err != nil {
		// The old file has lost its name and the new one's is not durable:
		// neither may take another record.
		err = fmt.Errorf("%w: directory: %w", ErrInDoubt, err)
		if j.broken() == nil {
			j.fail(err, nil)
		}
		return err
	}
	j.tellLate(nil) // they are in the snapshot
	return nil
}

// adopt goes on with the new file.
func (j *Journal) adopt(w *snapshotWriter, opened int) {
	if j.f != nil {
		_ = j.f.Close()
	}
	j.f, j.number, j.allocated, j.safe, j.opened = w.f, w.number, w.allocated, w.allocated, opened
	j.syncAt, j.probeAt = time.Time{}, time.Time{}
	j.mu.Lock()
	j.size, j.base = w.size, w.size
	j.mu.Unlock()
	if j.isFull() != nil {
		j.setFull(nil)
	}
}

// snapshotWriter writes the beginning of a new file.
type snapshotWriter struct {
	f         file
	number    uint64
	size      int64
	allocated int64
	buf       []byte
}

// write writes head, records and the line that says that they are all there.
// Each is a batch of its own: the file gets its name only when it is synced,
// so nothing of this is ever a torn tail.
func (w *snapshotWriter) write(id string, s Snapshot) error {
	base := w.number + 2 + uint64(s.length())
	err := w.line(Record{Op: opHead, Format: format, Store: id, Base: base, At: time.Now().UnixNano()})
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
func (j *Journal) seal() error {
	if err := j.sync(); err != nil {
		return err
	}
	w := &snapshotWriter{f: j.f, number: j.number, size: j.size}
	for first := true; first || (w.size+int64(len(w.buf)))%page == 0; first = false {
		if err := w.line(Record{Op: opClose}); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	// The shorter length may reach the disk before the line does.
	if err := j.f.sync(); err != nil {
		return err
	}
	return errors.Join(j.f.truncate(w.size), j.f.sync())
}
