package store

import (
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/dispatchers/mode"
)

// lines is a batch that is ready to be written.
type lines struct {
	entries []entry
	text    []byte
	number  uint64        // of the last line
	opened  int           // open jobs after it
	urgent  bool          // somebody waits for the disk
	wait    time.Duration // how long a sync may be put off
}

// encode makes the lines of a batch. What is refused is answered so, and left
// out.
func (w *writer) encode(batch []entry, full error) lines {
	if w.syncer.clean() { // all before it is synced
		w.batch = w.number + 1
	}
	out := lines{number: w.number, opened: w.opened, wait: relaxedSync}
	for _, e := range batch {
		if e.dur == mode.Memory {
			out.entries = append(out.entries, e)
			continue
		}
		e.rec.Batch, e.rec.Index = w.batch, out.number+1-w.batch
		err := w.refuse(e.rec, full)
		if err == nil {
			out.text, err = appendLine(out.text, e.rec)
		}
		if err != nil {
			w.complete([]entry{e}, err)
			continue
		}
		out.count(e)
	}
	return out
}

// count takes in an encoded entry.
func (out *lines) count(e entry) {
	out.entries = append(out.entries, e)
	out.number++
	switch e.rec.Op {
	case OpAccept:
		out.opened++
	case OpEnd:
		out.opened--
	}
	if e.dur == mode.Disk {
		out.urgent = out.urgent || e.urgent
		out.wait = lazySync
	}
}

// refuse says why a record is not written, or nil. A full disk takes nothing
// that needs space of its own.
func (w *writer) refuse(r Record, full error) error {
	switch {
	case !r.ID.IsZero() && w.rejected[r.ID]:
		return fmt.Errorf("%w: the job was refused", ErrUnavailable)
	case full == nil:
		return nil
	case r.Op == OpAccept, r.Op == OpJoin, r.Op == OpCursor, r.Op == OpPause, r.Op == OpResume:
		return fmt.Errorf("%w: %w", ErrUnavailable, full)
	}
	return nil
}

// maxRejected bounds what is remembered of refused jobs. The owner needs moments
// to withdraw one.
const maxRejected = 10_000

// reject notes that a job was refused. Until the owner knows it, records of it
// may still come, and a snapshot may have it: neither is written.
func (w *writer) reject(id ulid.ULID) {
	if len(w.rejected) >= maxRejected {
		clear(w.rejected)
	}
	w.rejected[id] = true
}
