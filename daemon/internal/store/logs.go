package store

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/output"
)

const page = 4096

// LogPath is the file of a job's output.
func (d *Dir) LogPath(id ulid.ULID) string {
	return filepath.Join(d.path, "logs", id.String()+".log")
}

// NewLog opens a job's output for appending, new for the first attempt.
func (d *Dir) NewLog(id ulid.ULID) (*os.File, error) {
	f, err := d.openLog(id)
	if errors.Is(err, os.ErrNotExist) { // somebody has removed the directory
		if _, err := d.KeepLogs(); err != nil {
			return nil, err
		}
		f, err = d.openLog(id)
	}
	return f, err
}

// KeepLogs makes the directory of outputs where it is missing, and reports whether it
// was.
func (d *Dir) KeepLogs() (again bool, err error) {
	path := filepath.Join(d.path, "logs")
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	return true, makeDir(path, 0o700)
}

// openLog opens a job's output for appending, and makes it where it is missing. A link
// in its place is not followed.
func (d *Dir) openLog(id ulid.ULID) (*os.File, error) {
	return os.OpenFile(d.LogPath(id), os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
}

// LogHeld reports whether somebody writes to a job's output: the job, or what it left
// running.
func (d *Dir) LogHeld(id ulid.ULID) bool { return output.IsHeld(d.LogPath(id)) }

// LogSize counts the bytes that a job has printed.
func (d *Dir) LogSize(id ulid.ULID) int64 {
	fi, err := os.Lstat(d.LogPath(id))
	if err != nil || !fi.Mode().IsRegular() {
		return 0
	}
	return fi.Size()
}

// TrimLog gives back the disk space of the middle of an output of size bytes
// that is longer than max: the first and the last half of max stay.
func (d *Dir) TrimLog(id ulid.ULID, size, max int64) error {
	if max <= 0 || size <= max {
		return nil
	}
	f, err := os.OpenFile(d.LogPath(id), os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return output.Trim(f, size, max)
}
