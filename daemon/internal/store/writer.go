package store

import (
	"os"
	"time"
)

// write is the writer's goroutine: it takes whatever is queued, writes it with
// one call, syncs if somebody waits for that, and tells everybody.
func (j *Journal) write() {
	defer close(j.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		batch, rw, closing := j.take()
		if len(batch) > 0 {
			j.commit(batch)
		}
		if rw != nil {
			j.rewrite(rw)
		}
		if len(batch) > 0 || rw != nil {
			continue
		}
		if closing {
			return
		}
		j.rest(timer)
	}
}

// take empties the queue. A rewrite goes behind what was queued before it.
func (j *Journal) take() ([]entry, *rewrite, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	batch, rw := j.pending, j.rewriting
	j.pending, j.rewriting = nil, nil
	return batch, rw, j.closing
}

// rest waits for work, or for the time of a sync that can be put off.
func (j *Journal) rest(timer *time.Timer) {
	if j.syncAt.IsZero() {
		<-j.wake
		return
	}
	timer.Reset(max(0, time.Until(j.syncAt)))
	select {
	case <-j.wake:
	case <-timer.C:
		if err := j.f.sync(); err != nil {
			j.fail(err, nil)
			return
		}
		j.syncAt = time.Time{}
	}
}

// commit writes a batch, and syncs it when one of its records cannot wait.
func (j *Journal) commit(batch []entry) {
	j.mu.Lock()
	failed := j.failed
	j.mu.Unlock()
	if failed != nil {
		tell(batch, failed)
		return
	}
	j.batch++
	var buf []byte
	urgent, wait := false, relaxedSync
	for i := range batch {
		batch[i].rec.Batch = j.batch
		line, err := appendLine(buf, batch[i].rec)
		if err != nil {
			batch[i].done(err)
			batch[i].done = func(error) {}
			continue
		}
		buf = line
		if batch[i].dur == Disk {
			urgent = urgent || batch[i].urgent
			wait = lazySync
		}
	}
	if err := j.put(buf); err != nil {
		j.fail(err, batch)
		return
	}
	if !urgent {
		j.later(wait)
		tell(batch, nil) // what waits for the disk was urgent
		return
	}
	if err := j.f.sync(); err != nil {
		j.fail(err, batch)
		return
	}
	j.syncAt = time.Time{}
	tell(batch, nil)
}

// later plans a sync, unless an earlier one is planned.
func (j *Journal) later(wait time.Duration) {
	if at := time.Now().Add(wait); j.syncAt.IsZero() || at.Before(j.syncAt) {
		j.syncAt = at
	}
}

// put writes behind what is written, allocating ahead.
func (j *Journal) put(buf []byte) error {
	j.mu.Lock()
	end := j.size + int64(len(buf))
	j.mu.Unlock()
	if end > j.allocated {
		j.allocated = end + ahead
		if err := j.f.allocate(j.allocated); err != nil {
			return err
		}
	}
	if _, err := j.f.Write(buf); err != nil {
		return err
	}
	j.mu.Lock()
	j.size = end
	j.mu.Unlock()
	return nil
}

// tell answers every record of a batch.
func tell(batch []entry, err error) {
	for i := range batch {
		batch[i].done(err)
	}
}

// fail breaks the journal: this file is never synced again.
func (j *Journal) fail(err error, batch []entry) {
	j.mu.Lock()
	j.failed = err
	onFail := j.onFail
	j.mu.Unlock()
	j.syncAt = time.Time{}
	tell(batch, err)
	if onFail != nil {
		onFail(err)
	}
}

// rewrite replaces the file by a snapshot.
func (j *Journal) rewrite(rw *rewrite) {
	err := j.replace(rw.snap)
	j.mu.Lock()
	j.due = false
	if err == nil {
		j.failed = nil
	}
	j.mu.Unlock()
	rw.done(err)
}

// replace writes a snapshot to a new file, syncs it, and puts it in the
// journal's place. On an error the old one stays in use.
func (j *Journal) replace(s Snapshot) error {
	f, err := j.create()
	if err != nil {
		return err
	}
	size, err := j.writeSnapshot(f, s)
	if err == nil {
		err = f.sync()
	}
	if err == nil {
		err = os.Rename(j.dir.file("journal.new"), j.dir.file("journal"))
	}
	if err == nil {
		err = j.dir.syncDir()
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	if j.f != nil {
		_ = j.f.Close()
	}
	j.mu.Lock()
	j.size, j.base = size, size
	j.mu.Unlock()
	j.f, j.allocated, j.syncAt = f, size, time.Time{}
	return nil
}

// writeSnapshot writes head and records in pieces, and gives their length.
func (j *Journal) writeSnapshot(f file, s Snapshot) (int64, error) {
	j.batch++
	var size int64
	buf, err := appendLine(nil, Record{Batch: j.batch, Op: opHead, Format: format, Store: j.id, At: time.Now().UnixNano()})
	flush := func(least int) {
		if err == nil && len(buf) > least {
			_, err = f.Write(buf)
			size += int64(len(buf))
			buf = buf[:0]
		}
	}
	for rec := range s.records {
		if err != nil {
			break
		}
		rec.Batch = j.batch
		buf, err = appendLine(buf, rec)
		flush(1 << 20)
	}
	flush(0)
	return size, err
}

// diskFile is a journal's file on disk.
type diskFile struct{ *os.File }

// createFile makes the new file beside the old one.
func (j *Journal) createFile() (file, error) {
	f, err := os.OpenFile(j.dir.file("journal.new"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func (f diskFile) truncate(size int64) error { return f.Truncate(size) }
