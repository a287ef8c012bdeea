package store

import (
	"sync"
	"time"

	"dispatchd/dispatchers/mode"
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
	snap         Snapshot
	queuedBefore int  // entries that were queued before it: they are in the snapshot
	repair       bool // of a broken journal
	done         func(error)
}

// inbox is what callers have asked of the writer. Any goroutine may use it.
type inbox struct {
	mu            sync.Mutex
	pending       []entry
	rewriting     *rewrite // one at a time: until it is done, not until it is taken
	syncRequested bool     // what waits for a sync gets it now
	lookRequested bool     // whether the file is still there
	closing       bool

	wake chan struct{} // of one: a signal that waits stands for all
}

// append queues a record. False: the journal is closing.
func (b *inbox) append(rec Record, dur mode.Durability, urgent bool, done func(error)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return false
	}
	b.pending = append(b.pending, entry{rec, dur, urgent, done})
	b.wakeWriter()
	return true
}

// rewrite queues a snapshot behind what is queued. False: the journal is closing,
// or another one is under way.
func (b *inbox) rewrite(rw *rewrite) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing || b.rewriting != nil {
		return false
	}
	rw.queuedBefore = len(b.pending)
	b.rewriting = rw
	b.wakeWriter()
	return true
}

// rewritten says that the next snapshot may come.
func (b *inbox) rewritten() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rewriting = nil
}

// isRewriting reports whether a snapshot is queued or being written.
func (b *inbox) isRewriting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rewriting != nil
}

// requestSync has what was appended so far synced now.
func (b *inbox) requestSync() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.syncRequested = true
	b.wakeWriter()
}

// requestLook has the writer see whether its file is still there.
func (b *inbox) requestLook() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lookRequested = true
	b.wakeWriter()
}

// close lets nothing more in.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closing = true
	b.wakeWriter()
}

// work is what the writer takes at once.
type work struct {
	batch   []entry
	rewrite *rewrite // after the batch; nil = none
	sync    bool
	look    bool
	closing bool
}

// dequeue empties the inbox. A rewrite goes behind what was queued before it, and
// what came after it waits for the new file.
func (b *inbox) dequeue() work {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := work{batch: b.pending, rewrite: b.rewriting, sync: b.syncRequested, look: b.lookRequested, closing: b.closing}
	b.pending, b.syncRequested, b.lookRequested = nil, false, false
	if rw := w.rewrite; rw != nil {
		w.batch, b.pending = w.batch[:rw.queuedBefore], w.batch[rw.queuedBefore:]
	}
	return w
}

// wakeWriter tells the writer that something has come.
func (b *inbox) wakeWriter() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// waitForWork waits until something comes, or until an instant, zero = never.
func (b *inbox) waitForWork(timer *time.Timer, until time.Time) {
	if until.IsZero() {
		<-b.wake
		return
	}
	timer.Reset(max(0, time.Until(until)))
	select {
	case <-b.wake:
	case <-timer.C:
	}
}
