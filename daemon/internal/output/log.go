package output

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lookEvery  = time.Second            // how often a log that is written to is looked for under its path
	retryEvery = 100 * time.Millisecond // how long a log that could not be written is let alone
	maxStep    = 256 << 10              // of disk space beyond the bound, while more comes
	maxHeld    = 64 << 10               // of the tail in memory, where files have no holes
)

// Log is the log of a job: what comes is appended to a file that never takes more
// disk space than its bound and a step. The head is kept and, as a ring, the tail:
// the blocks between them are given back, so that the file's length stays the
// count of bytes, an offset into it stays valid, and readers of each release find
// what they expect.
//
// Write never fails. What a full or broken disk does not take is lost, counted, and
// told in the log as soon as it can be written again: an operation is not lost for
// its log's sake.
//
// The open file carries a shared flock(2), so that IsHeld tells whether anybody
// still writes. A Log belongs to one goroutine.
type Log struct {
	path string
	max  int64 // 0 = no bound
	fd   int   // -1 = it could not be opened

	bytes int64 // that came, with those of earlier attempts
	size  int64 // of the file, and of what is held back
	freed int64 // the middle is given back up to here

	lost   int64 // bytes in all
	untold int64 // of these, those of which the log says nothing yet
	cause  error // why

	look, retry time.Time
	ended       bool // the job has: a log that is removed now stays removed
	solid       bool // the file system makes no holes
	held        []byte
	skipped     bool // a part of the tail was never written
}

// OpenLog opens the log at path, to keep max bytes of it (0 = all). A log that
// cannot be opened now is tried again when something comes.
func OpenLog(path string, max int64) *Log {
	l := &Log{path: path, max: max, fd: -1, look: time.Now().Add(lookEvery)}
	if err := l.open(); err != nil {
		l.cause = err
		return l
	}
	l.bytes = l.size
	return l
}

// open opens the file, which is new or an earlier attempt's.
func (l *Log) open() error {
	fd, err := openRegular(l.path, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT)
	if err != nil {
		return err
	}
	// Without the lock everything works, but nobody sees that the log is written to.
	_ = unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB)
	l.fd, l.freed = fd, 0
	l.size, err = unix.Seek(fd, 0, unix.SEEK_END)
	return err
}

// Write appends what came.
func (l *Log) Write(p []byte) {
	now := time.Now()
	l.bytes += int64(len(p))
	switch {
	case !l.isReady(now):
		l.lose(int64(len(p)), nil, now)
		return
	case l.solid && l.max > 0 && l.size+int64(len(p)) > l.max:
		l.hold(p)
		return
	}
	n, err := l.append(p)
	if err != nil {
		l.lose(int64(len(p)-n), err, now)
		return
	}
	l.trim(min(l.max/4, maxStep))
}

// isReady reports whether the file can be written. It opens one that could not be
// opened, or was taken away, and first tells in it what was lost.
func (l *Log) isReady(now time.Time) bool {
	if now.Before(l.retry) {
		return false
	}
	if !now.Before(l.look) {
		l.find(now)
	}
	if l.fd < 0 {
		if l.ended {
			return false
		}
		if err := l.open(); err != nil {
			l.lose(0, err, now)
			return false
		}
	}
	if l.untold == 0 {
		return true
	}
	_, err := l.append(fmt.Appendf(nil, "\n[… %d bytes lost: %v …]\n", l.untold, l.cause))
	if err != nil {
		l.lose(0, err, now)
		return false
	}
	l.untold = 0
	return true
}

// append writes to the file's end. Where there is no room, the middle may make some.
func (l *Log) append(p []byte) (n int, err error) {
	for freed := false; n < len(p); {
		k, err := unix.Write(l.fd, p[n:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil && !freed && l.max > 0 && l.size > l.max:
			freed = true
			l.trim(page)
		case err != nil:
			return n, err
		default:
			n += k
			// Another attempt's keeper may append too: where we are tells the length.
			if l.size, err = unix.Seek(l.fd, 0, unix.SEEK_CUR); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// lose counts bytes that were not written, and lets the file alone for a moment.
func (l *Log) lose(n int64, why error, now time.Time) {
	l.lost += n
	l.untold += n
	if why != nil {
		l.cause, l.retry = reason(why), now.Add(retryEvery)
	}
}

// trim gives the blocks between head and tail back, where they are at least step.
func (l *Log) trim(step int64) {
	if l.solid {
		return
	}
	from, to := middle(l.size, l.max)
	from = max(from, l.freed)
	if to-from < max(step, page) {
		return
	}
	if err := punch(l.fd, from, to); err != nil {
		l.solid = true
		return
	}
	l.freed = to
}

// hold keeps the newest bytes in memory, where the middle of a file cannot be given
// back. settle puts them behind a hole that never was written.
func (l *Log) hold(p []byte) {
	l.size += int64(len(p))
	if l.held = append(l.held, p...); len(l.held) > 2*maxHeld { // moved seldom
		l.held, l.skipped = append(l.held[:0], l.held[len(l.held)-maxHeld:]...), true
	}
}

// settle writes what is held, and gives back all that is beyond the bound.
func (l *Log) settle() {
	if l.fd < 0 {
		return
	}
	l.trim(page)
	if len(l.held) == 0 {
		return
	}
	held, size := l.held, l.size
	if l.held = nil; len(held) > maxHeld {
		held, l.skipped = held[len(held)-maxHeld:], true
	}
	err := unix.Ftruncate(l.fd, size-int64(len(held)))
	if err == nil {
		var n int
		n, err = l.append(held)
		held = held[n:]
	}
	if err != nil {
		l.lose(int64(len(held)), err, time.Now())
	}
	l.size = size
}

// find looks whether the file is still the one at its path. Of a job that runs a new
// one is made, which says so; what a job left behind loses its log with the job.
func (l *Log) find(now time.Time) {
	l.look = now.Add(lookEvery)
	if l.fd < 0 {
		return
	}
	var here, there unix.Stat_t
	if unix.Fstat(l.fd, &here) != nil {
		return
	}
	err := unix.Lstat(l.path, &there)
	if err == nil && here.Ino == there.Ino && here.Dev == there.Dev || err != nil && !errors.Is(err, unix.ENOENT) {
		return
	}
	if l.ended && here.Nlink > 0 {
		return
	}
	_ = unix.Close(l.fd)
	l.fd = -1
	if !l.ended {
		l.lose(l.size, errTakenAway, time.Time{})
		l.size, l.held = 0, nil
	}
}

// errTakenAway is why the beginning of a log is missing.
var errTakenAway = errors.New("the log was removed or renamed while the job ran")

// End notes that the job has ended: everything that came is in the file, and nothing
// beyond the bound.
func (l *Log) End() {
	now := time.Now()
	l.find(now)
	if l.untold > 0 {
		l.retry = time.Time{}
		_ = l.isReady(now)
	}
	l.settle()
	l.ended = true
}

// Totals counts what came.
func (l *Log) Totals() Totals {
	t := Totals{Bytes: l.bytes, Lost: l.lost}
	keep := l.max
	if l.skipped {
		keep = min(keep, 2*maxHeld)
	}
	if t.Dropped = l.lost; l.max > 0 {
		t.Dropped += max(0, l.size-keep)
	}
	if l.lost > 0 {
		t.Warning = fmt.Sprintf("%d bytes of the output were lost: %v", l.lost, l.cause)
	}
	return t
}

// Close gives the file back.
func (l *Log) Close() {
	if l.fd >= 0 {
		l.settle()
		_ = unix.Close(l.fd)
		l.fd = -1
	}
	l.ended = true
}

// IsHeld reports whether somebody still writes to the log at path.
func IsHeld(path string) bool {
	fd, err := openRegular(path, unix.O_RDONLY)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	return errors.Is(unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// openRegular opens a regular file, and no link to one: whoever can put a link there
// must not choose what we write to.
func openRegular(path string, how int) (int, error) {
	for {
		fd, err := unix.Open(path, how|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			_ = unix.Close(fd)
			return -1, &os.PathError{Op: "open", Path: path, Err: errNotRegular}
		}
		return fd, nil
	}
}

// errNotRegular is why a path is not written to.
var errNotRegular = errors.New("not a regular file")

// reason leaves the path out of an error: the log is known to whoever reads it.
func reason(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return err
}
