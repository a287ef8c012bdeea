package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/dispatchers/mode"
)

// writer owns the journal's file. All of it belongs to its goroutine: to that of
// OpenJournal before run, to that of Close after it.
type writer struct {
	inbox  *inbox
	health *health
	disk   disk
	guard  func() error // why the directory is not ours any more, nil = it is
	id     string       // the store's

	timeline *Timeline // nil = none, and nothing in it has an age

	file    file // nil = none could be opened yet
	size    int64
	number  uint64 // of the last line
	batch   uint64 // number of the batch's first line
	opened  int    // open jobs that are written
	damaged bool   // what is called "journal" must be kept before it is replaced

	space    space
	syncer   syncer
	rejected map[ulid.ULID]bool // jobs whose acceptance was refused
	ended    chan struct{}
}

// run is the writer's goroutine.
func (w *writer) run() {
	defer close(w.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		switch due, worked, closing := w.cycle(); {
		case worked:
		case closing:
			return
		default:
			w.inbox.waitForWork(timer, due)
		}
	}
}

// cycle takes whatever is queued, writes it with one call, syncs if somebody
// waits for that, and answers everybody. Without work it does what is due, and
// says when the next thing is.
func (w *writer) cycle() (due time.Time, worked, closing bool) {
	todo := w.inbox.dequeue()
	w.syncer.requested = w.syncer.requested || todo.sync
	if len(todo.batch) > 0 {
		w.commit(todo.batch)
	}
	if todo.look && w.health.broken() == nil {
		if err := w.keepNamed(); err != nil {
			w.fail(err, nil)
		}
	}
	if todo.rewrite != nil {
		w.rewrite(todo.rewrite)
	}
	if len(todo.batch) > 0 || todo.rewrite != nil {
		return due, true, todo.closing
	}
	return w.onTime(), false, todo.closing
}

// onTime does a sync that was put off, and looks for space again, when it is
// time. It says when the next of them is, zero = never.
func (w *writer) onTime() time.Time {
	now := time.Now()
	if w.syncer.isDue(now) {
		if err := w.sync(); err != nil {
			w.fail(err, nil)
		}
	}
	if w.space.probeDue(now) {
		w.probeSpace()
	}
	due := w.syncer.due
	if at := w.space.probeAt; !at.IsZero() && (due.IsZero() || at.Before(due)) {
		due = at
	}
	return due
}

// sync makes all that is written durable. What comes next is a new batch.
func (w *writer) sync() error {
	if err := w.file.sync(); err != nil {
		return inDoubt(err)
	}
	w.space.synced = w.space.allocated
	w.syncer.synced()
	w.completeSynced(nil)
	return nil
}

// commit writes a batch, and syncs it when one of its records cannot wait.
func (w *writer) commit(batch []entry) {
	if err := w.health.broken(); err != nil {
		w.complete(batch, fmt.Errorf("%w: %s", ErrUnavailable, err.Error())) // not in doubt itself
		return
	}
	if err := w.keepNamed(); err != nil {
		w.fail(err, batch)
		return
	}
	out, err := w.admit(batch)
	if err == nil && len(out.text) > 0 {
		err = w.writeBatch(out)
	}
	if err != nil {
		w.fail(err, out.entries)
		return
	}
	w.completeWritten(out.entries)
}

// admit encodes a batch and sees that there is space for it, and for the starts
// and ends of all open jobs behind it. On a full disk what opens jobs is
// refused, and starts and ends are written into what was set aside for them.
func (w *writer) admit(batch []entry) (lines, error) {
	full := w.health.isFull()
	out := w.encode(batch, full)
	if full == nil {
		err := w.space.reserve(w.file, w.size+int64(len(out.text)), out.opened)
		if e, ok := errors.AsType[errFull](err); ok {
			w.markFull(e)
			full = e
			out = w.encode(out.entries, full)
		} else if err != nil {
			return out, err
		}
	}
	if full != nil && !w.space.holds(w.size+int64(len(out.text))) {
		return out, fmt.Errorf("%w: %w", ErrUnavailable, full)
	}
	return out, nil
}

// markFull notes that the disk is full.
func (w *writer) markFull(err error) {
	w.health.setFull(err)
	w.space.probeLater(time.Now())
}

// probeSpace looks whether there is space again.
func (w *writer) probeSpace() {
	err := w.space.reserve(w.file, w.size+w.space.ahead, w.opened)
	if _, still := errors.AsType[errFull](err); still {
		w.space.probeLater(time.Now())
		return
	}
	w.space.probeAt = time.Time{}
	if err != nil {
		w.fail(err, nil)
		return
	}
	w.health.setFull(nil)
}

// writeBatch writes behind what is written, and syncs it where that cannot wait.
func (w *writer) writeBatch(out lines) error {
	w.syncer.written(time.Now(), out.wait)
	if _, err := w.file.Write(out.text); err != nil {
		return inDoubt(err)
	}
	w.number, w.opened = out.number, out.opened
	w.size += int64(len(out.text))
	w.health.grown(w.size)
	// Under load there is no rest in which a sync that was put off is made.
	if !out.urgent && time.Now().Before(w.syncer.due) {
		return nil
	}
	return w.sync()
}

// completeWritten answers what of a written batch has only to be that, and keeps
// the rest for the sync if that is yet to come.
func (w *writer) completeWritten(batch []entry) {
	for i, e := range batch {
		if e.dur == mode.Disk && !w.syncer.clean() {
			w.syncer.awaitingSync = append(w.syncer.awaitingSync, e)
		} else {
			w.complete(batch[i:i+1], nil)
		}
	}
}

// completeSynced answers those that waited for a sync.
func (w *writer) completeSynced(err error) { w.complete(w.syncer.release(), err) }

// complete answers every record of a batch. What is kept in memory cannot fail.
func (w *writer) complete(batch []entry, err error) {
	for i := range batch {
		switch e := &batch[i]; {
		case e.dur == mode.Memory:
			e.done(nil)
			continue
		case err != nil && e.rec.Op == OpAccept:
			w.reject(e.rec.ID)
		}
		batch[i].done(err)
	}
}

// fail breaks the journal: this file is never written or synced again. Whoever
// waits is answered first, so that the owner knows all when it hears of it.
func (w *writer) fail(err error, batch []entry) {
	onFail := w.health.setFailed(err)
	w.syncer.synced()
	w.space.probeAt = time.Time{}
	if len(w.syncer.awaitingSync) > 0 {
		w.completeSynced(fmt.Errorf("%w: %s", ErrInDoubt, err.Error()))
	}
	w.complete(batch, err)
	if onFail != nil {
		onFail(err)
	}
}

// close ends the file. The goroutine of run has ended.
func (w *writer) close() error {
	failed := w.health.broken()
	if w.file == nil {
		return failed
	}
	if failed != nil {
		return errors.Join(failed, w.file.Close())
	}
	err := w.seal()
	w.completeSynced(err)
	return errors.Join(err, w.file.Close())
}
