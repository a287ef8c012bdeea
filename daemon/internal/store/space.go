package store

import "time"

const (
	allocAhead = 256 << 10              // bytes allocated at once: halves what a job costs the device (50.7 to 14 kB)
	perJob     = 512                    // bytes that a job's start and end may take
	probeEvery = 250 * time.Millisecond // how often a full disk is asked for space
)

// errFull is a disk that gives no more space. Nothing was written yet, so the
// file is as good as before.
type errFull struct{ error }

// Unwrap is for errors.Is.
func (e errFull) Unwrap() error { return e.error }

// space is what is allocated of the journal's file: for what is written next, and
// for the starts and ends of all open jobs, so that these never fail for want of
// it. It belongs to the writer.
//
// Nothing is written beyond a size that is synced: so a journal in use always
// ends in zeros, and one that does not was cut off.
type space struct {
	ahead     int64     // bytes allocated at once
	allocated int64     // size of the file
	synced    int64     // as much of it as is on the disk
	probeAt   time.Time // when to look for space again, zero = there is
}

// allocate makes a file long enough for end bytes and the open jobs behind them.
// A disk that cannot give more ahead may still have enough for now.
func (s *space) allocate(f file, end int64, opened int) error {
	least := end + int64(opened)*perJob + page
	if least <= s.allocated {
		return nil
	}
	var err error
	for _, ahead := range []int64{s.ahead, 0} {
		size := (least + ahead + page - 1) / page * page
		if err = f.allocate(size); err == nil {
			s.allocated = size
			return nil
		}
	}
	return errFull{err}
}

// reserve is allocate for what is written next: the size is on the disk then.
func (s *space) reserve(f file, end int64, opened int) error {
	if err := s.allocate(f, end, opened); err != nil {
		return err
	}
	if end < s.synced {
		return nil
	}
	if err := f.sync(); err != nil {
		return inDoubt(err)
	}
	s.synced = s.allocated
	return nil
}

// holds reports whether bytes up to end fit in what is allocated, and leave a
// zero behind them.
func (s *space) holds(end int64) bool { return end < s.allocated }

// probeLater has the disk asked for space in a while.
func (s *space) probeLater(now time.Time) { s.probeAt = now.Add(probeEvery) }

// probeDue reports whether it is time to ask.
func (s *space) probeDue(now time.Time) bool { return !s.probeAt.IsZero() && !now.Before(s.probeAt) }
