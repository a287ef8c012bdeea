package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

// errFull is a disk that gives no more space. Nothing was written yet, so the
// file is as good as before.
type errFull struct{ error }

// Unwrap is for errors.Is.
func (e errFull) Unwrap() error { return e.error }

// admit encodes a batch and sees that there is room for it, and for the starts
// and ends of all open jobs behind it. On a full disk what opens jobs is
// refused, and starts and ends are written into what was set aside for them.
func (j *Journal) admit(batch []entry) (lines, error) {
	full := j.isFull()
	out := j.encode(batch, full)
	if full == nil {
		err := j.room(int64(len(out.text)), out.opened)
		if e, ok := errors.AsType[errFull](err); ok {
			j.fill(e)
			full = e
			out = j.encode(out.entries, full)
		} else if err != nil {
			return out, err
		}
	}
	if full != nil && j.size+int64(len(out.text)) >= j.allocated {
		return out, fmt.Errorf("%w: %w", ErrUnavailable, full)
	}
	return out, nil
}

// room allocates for need more bytes, for the open jobs, and ahead. Nothing is
// written beyond a size that is not synced: so a journal in use always ends in
// zeros, and one that does not was cut off.
func (j *Journal) room(need int64, opened int) error {
	size, err := j.claim(j.f, j.size+need, opened, j.allocated)
	if err != nil {
		return err
	}
	j.allocated = size
	if j.size+need < j.safe {
		return nil
	}
	if err := j.f.sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrInDoubt, err)
	}
	j.safe = j.allocated
	return nil
}

// claim allocates a file of which end bytes are or will be written, where has
// does not do.
func (j *Journal) claim(f file, end int64, opened int, has int64) (int64, error) {
	least := end + int64(opened)*perJob + page
	if least <= has {
		return has, nil
	}
	var err error
	for _, more := range []int64{j.ahead, 0} {
		size := (least + more + page - 1) / page * page
		if err = f.allocate(size); err == nil {
			return size, nil
		}
	}
	return has, errFull{err}
}

// isFull is why nothing that needs space is taken now, or nil.
func (j *Journal) isFull() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.full
}

// fill notes that the disk is full.
func (j *Journal) fill(err error) {
	j.setFull(err)
	j.probeAt = time.Now().Add(probeEvery)
}

// setFull notes it and tells the owner.
func (j *Journal) setFull(err error) {
	j.mu.Lock()
	j.full = err
	onFull := j.onFull
	j.mu.Unlock()
	if onFull != nil {
		onFull(err)
	}
}

// probe looks whether there is space again.
func (j *Journal) probe() {
	err := j.room(j.ahead, j.opened)
	if _, still := errors.AsType[errFull](err); still {
		j.probeAt = time.Now().Add(probeEvery)
		return
	}
	j.probeAt = time.Time{}
	if err != nil {
		j.fail(err, nil)
		return
	}
	j.setFull(nil)
}

// refuse says why a record is not written, or nil. A full disk takes nothing
// that needs space of its own.
func (j *Journal) refuse(r Record, full error) error {
	switch {
	case !r.ID.IsZero() && j.denied[r.ID]:
		return fmt.Errorf("%w: the job was refused", ErrUnavailable)
	case full == nil:
		return nil
	case r.Op == OpAccept, r.Op == OpJoin, r.Op == OpCursor, r.Op == OpPause, r.Op == OpResume:
		return fmt.Errorf("%w: %w", ErrUnavailable, full)
	}
	return nil
}

// maxDenied bounds what is remembered of refused jobs. The owner needs moments
// to withdraw one.
const maxDenied = 10_000

// deny notes that a job was refused. Until the owner knows it, records of it
// may still come, and a snapshot may have it: neither is written.
func (j *Journal) deny(id ulid.ULID) {
	if len(j.denied) >= maxDenied {
		clear(j.denied)
	}
	j.denied[id] = true
}
