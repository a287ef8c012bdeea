package store

import (
	"fmt"
	"time"

	"dispatchd/dispatchers/mode"
)

// write is the writer's goroutine.
func (j *Journal) write() {
	defer close(j.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		switch due, worked, closing := j.turn(); {
		case worked:
		case closing:
			return
		default:
			j.rest(timer, due)
		}
	}
}

// turn takes whatever is queued, writes it with one call, syncs if somebody
// waits for that, and tells everybody. Else it does what is due, and says when
// the next thing is.
func (j *Journal) turn() (due time.Time, worked, closing bool) {
	batch, rw, closing := j.take()
	if len(batch) > 0 {
		j.commit(batch)
	}
	if rw != nil {
		j.rewrite(rw)
	}
	if len(batch) > 0 || rw != nil {
		return due, true, closing
	}
	return j.onTime(), false, closing
}

// take empties the queue. A rewrite goes behind what was queued before it, and
// what came after it waits for the new file.
func (j *Journal) take() ([]entry, *rewrite, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	batch, rw := j.pending, j.rewriting
	j.pending = nil
	j.rush, j.hurried = j.rush || j.hurried, false
	if rw != nil {
		batch, j.pending = batch[:rw.behind], batch[rw.behind:]
	}
	return batch, rw, j.closing
}

// rest waits for work, or for the time when something is due.
func (j *Journal) rest(timer *time.Timer, due time.Time) {
	if due.IsZero() {
		<-j.wake
		return
	}
	timer.Reset(max(0, time.Until(due)))
	select {
	case <-j.wake:
	case <-timer.C:
	}
}

// onTime does a sync that was put off, and looks for space again, when it is
// time. It says when the next of them is, zero = never.
func (j *Journal) onTime() time.Time {
	now := time.Now()
	if j.rush && len(j.late) > 0 {
		j.syncAt = now
	}
	j.rush = false // what it was for is written, and in late or told
	if at := j.syncAt; !at.IsZero() && !now.Before(at) {
		if err := j.sync(); err != nil {
			j.fail(err, nil)
		}
	}
	if at := j.probeAt; !at.IsZero() && !now.Before(at) {
		j.probe()
	}
	due := j.syncAt
	if at := j.probeAt; !at.IsZero() && (due.IsZero() || at.Before(due)) {
		due = at
	}
	return due
}

// sync makes all that is written durable. What comes next is a new batch.
func (j *Journal) sync() error {
	if err := j.f.sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrInDoubt, err)
	}
	j.syncAt, j.safe = time.Time{}, j.allocated
	j.tellLate(nil)
	return nil
}

// lines is a batch that is ready to be written.
type lines struct {
	entries []entry
	text    []byte
	number  uint64        // of the last line
	opened  int           // open jobs after it
	urgent  bool          // somebody waits for the disk
	wait    time.Duration // how long a sync may be put off
}

// commit writes a batch, and syncs it when one of its records cannot wait.
func (j *Journal) commit(batch []entry) {
	if err := j.broken(); err != nil {
		j.tell(batch, fmt.Errorf("%w: %s", ErrUnavailable, err.Error())) // not in doubt itself
		return
	}
	out, err := j.admit(batch)
	if err == nil && len(out.text) > 0 {
		err = j.put(out)
	}
	if err != nil {
		j.fail(err, out.entries)
		return
	}
	j.written(out.entries)
}

// written tells of a batch that is written what has only to be that, and keeps
// the rest for the sync if that is yet to come.
func (j *Journal) written(batch []entry) {
	for i, e := range batch {
		if e.dur == mode.Disk && !j.syncAt.IsZero() {
			j.late = append(j.late, e)
		} else {
			j.tell(batch[i:i+1], nil)
		}
	}
}

// tellLate tells those that waited for a sync how it went.
func (j *Journal) tellLate(err error) {
	late := j.late
	j.late = nil
	j.tell(late, err)
}

// encode makes the lines of a batch. What is refused is told so, and left out.
func (j *Journal) encode(batch []entry, full error) lines {
	if j.syncAt.IsZero() { // all before it is synced
		j.batch = j.number + 1
	}
	out := lines{number: j.number, opened: j.opened, wait: relaxedSync}
	for _, e := range batch {
		if e.dur == mode.Memory {
			out.entries = append(out.entries, e)
			continue
		}
		e.rec.Batch, e.rec.Index = j.batch, out.number+1-j.batch
		err := j.refuse(e.rec, full)
		if err == nil {
			out.text, err = appendLine(out.text, e.rec)
		}
		if err != nil {
			j.tell([]entry{e}, err)
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

// put writes behind what is written, and syncs it where that cannot wait.
func (j *Journal) put(out lines) error {
	if at := time.Now().Add(out.wait); j.syncAt.IsZero() || at.Before(j.syncAt) {
		j.syncAt = at
	}
	if _, err := j.f.Write(out.text); err != nil {
		return fmt.Errorf("%w: %w", ErrInDoubt, err)
	}
	j.number, j.opened = out.number, out.opened
	j.mu.Lock()
	j.size += int64(len(out.text))
	j.mu.Unlock()
	// Under load there is no rest in which a sync that was put off is made.
	if !out.urgent && time.Now().Before(j.syncAt) {
		return nil
	}
	return j.sync()
}

// tell answers every record of a batch. What is kept in memory cannot fail.
func (j *Journal) tell(batch []entry, err error) {
	for i := range batch {
		switch e := &batch[i]; {
		case e.dur == mode.Memory:
			e.done(nil)
			continue
		case err != nil && e.rec.Op == OpAccept:
			j.deny(e.rec.ID)
		}
		batch[i].done(err)
	}
}

// broken is why the file cannot be written any more.
func (j *Journal) broken() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// fail breaks the journal: this file is never written or synced again. Who
// waits is told first, so that the owner knows all when it hears of it.
func (j *Journal) fail(err error, batch []entry) {
	j.mu.Lock()
	j.failed, j.full = err, nil
	onFail := j.onFail
	j.mu.Unlock()
	j.syncAt, j.probeAt = time.Time{}, time.Time{}
	if len(j.late) > 0 {
		j.tellLate(fmt.Errorf("%w: %s", ErrInDoubt, err.Error()))
	}
	j.tell(batch, err)
	if onFail != nil {
		onFail(err)
	}
}
