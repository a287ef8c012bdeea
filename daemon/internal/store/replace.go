package store

import (
	"errors"
	"fmt"
	"runtime"
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
	if err := w.guard(); err != nil {
		return err
	}
	s = s.without(w.rejected)
	if _, err := w.keepDamaged(); err != nil {
		return err
	}
	sw := &snapshotWriter{number: w.number, texts: make([][]byte, runtime.GOMAXPROCS(0))}
	f, size, err := w.newFile(len(s.Open), func(f file) (int64, error) {
		sw.f = f
		err := sw.write(head{Format: format, Store: w.id, Moment: w.timeline.mark()}, s)
		return sw.size, err
	})
	if err != nil {
		return err
	}
	w.number, w.size, w.opened = sw.number, sw.size, len(s.Open)
	w.health.rewritten(sw.size)
	if err := w.adopt(f, size); err != nil {
		if w.health.broken() == nil {
			w.fail(err, nil)
		}
		return err
	}
	w.completeSynced(nil) // they are in the snapshot
	return nil
}

// newFile makes a new file with this content, and with space behind it for what the
// open jobs may need, syncs it, and puts it in the journal's place. On an error the
// old one has its place still.
func (w *writer) newFile(opened int, write func(file) (int64, error)) (file, space, error) {
	size := space{ahead: w.space.ahead}
	f, err := w.disk.create("journal.new")
	if err != nil {
		return nil, size, err
	}
	end, err := write(f)
	if err == nil {
		err = size.allocate(f, end, opened)
	}
	if err == nil {
		err = f.sync()
	}
	if err == nil {
		err = w.disk.rename("journal.new", "journal")
	}
	if err != nil { // give its space back: the disk may be full
		return nil, size, errors.Join(err, f.Close(), w.disk.remove("journal.new"))
	}
	size.synced = size.allocated
	return f, size, nil
}

// adopt goes on with a new file. There was space for all of it.
func (w *writer) adopt(f file, size space) error {
	if w.file != nil {
		_ = w.file.Close()
	}
	w.file, w.space = f, size
	w.syncer.synced()
	if w.health.isFull() != nil {
		w.health.setFull(nil)
	}
	if err := w.disk.sync(); err != nil {
		// The old file has lost its name and the new one's is not durable:
		// neither may take another record.
		return fmt.Errorf("%w: directory: %w", ErrInDoubt, err)
	}
	return nil
}

// snapshotWriter writes the beginning of a new file.
type snapshotWriter struct {
	f      file
	number uint64 // of the last record
	size   int64
	block  []Record // not written yet
	room   int      // about how many bytes they take
	texts  [][]byte // of its parts, one for each processor
}

// block is how many records are shared out to the processors and then written,
// and blockBytes about how many bytes: with large arguments 4,096 jobs would be
// 4 GiB, and a start that needs more memory than the run before is killed again
// and again.
const (
	block      = 4096
	blockBytes = 2 << 20
)

// write writes head, records and the line that says that they are all there.
// Each is a batch of its own: the file gets its name only when it is synced,
// so nothing of this is ever a torn tail.
func (w *snapshotWriter) write(h head, s Snapshot) error {
	h.Base = w.number + 2 + uint64(s.length())
	err := w.record(Record{Op: opHead, head: h, At: time.Now().UnixNano()})
	for rec := range s.records {
		if err != nil {
			return err
		}
		err = w.record(rec)
	}
	if err == nil {
		err = w.record(Record{Op: opBase})
	}
	if err != nil {
		return err
	}
	return w.flush()
}

// record adds a record, and writes what has come together.
func (w *snapshotWriter) record(rec Record) error {
	w.number++
	rec.Batch = w.number
	w.block = append(w.block, rec)
	w.room += rec.room()
	if len(w.block) < block && w.room < blockBytes {
		return nil
	}
	return w.flush()
}

// flush writes what has come together.
func (w *snapshotWriter) flush() error {
	if err := encodeAll(w.texts, w.block); err != nil {
		return err
	}
	clear(w.block)
	w.block, w.room = w.block[:0], 0
	for _, text := range w.texts {
		n, err := w.f.Write(text)
		w.size += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// seal ends the file in order: everything synced, then a line that says so,
// and nothing behind it. Its length is never a multiple of a page, so that it
// cannot be taken for a journal in use.
func (w *writer) seal() error {
	if err := w.keepNamed(); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return err
	}
	var text []byte
	for number := w.number + 1; len(text) == 0 || (w.size+int64(len(text)))%page == 0; number++ {
		var err error
		if text, err = appendLine(text, Record{Op: opClose, Batch: number}); err != nil {
			return err
		}
	}
	if _, err := w.file.Write(text); err != nil {
		return err
	}
	// The shorter length may reach the disk before the line does.
	if err := w.file.sync(); err != nil {
		return err
	}
	return errors.Join(w.file.truncate(w.size+int64(len(text))), w.file.sync())
}
