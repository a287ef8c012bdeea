package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

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

// openLog opens a job's output for appending, and makes it where it is missing.
func (d *Dir) openLog(id ulid.ULID) (*os.File, error) {
	return os.OpenFile(d.LogPath(id), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
}

// LogSize counts the bytes that a job has printed.
func (d *Dir) LogSize(id ulid.ULID) int64 {
	fi, err := os.Stat(d.LogPath(id))
	if err != nil {
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
	f, err := os.OpenFile(d.LogPath(id), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return output.Trim(f, size, max)
}

// followStep is how often a followed output is looked at.
const followStep = 100 * time.Millisecond

// reader gives an output from an offset on, without its middle.
type reader struct {
	ctx   context.Context
	f     *os.File
	open  func() (*os.File, error)
	at    int64
	max   int64
	ended <-chan struct{}
	note  strings.Reader
}

// ReadLog reads a job's output from a byte on: the head, a line that says what
// was left out, the tail. It follows the output until ended is closed.
func (d *Dir) ReadLog(ctx context.Context, id ulid.ULID, from, max int64, ended <-chan struct{}) (io.ReadCloser, error) {
	r := &reader{ctx: ctx, at: from, max: max, ended: ended}
	r.open = func() (*os.File, error) { return os.Open(d.LogPath(id)) }
	return r, nil
}

// Close is io.Closer's.
func (r *reader) Close() error {
	if r.f == nil {
		return nil
	}
	return r.f.Close()
}

// Read is io.Reader's. It waits for more while the job runs.
func (r *reader) Read(p []byte) (int, error) {
	for {
		over := closed(r.ended)
		n, err := r.some(p)
		if n > 0 || (err != nil && !errors.Is(err, io.EOF)) || over {
			return n, err
		}
		select {
		case <-r.ctx.Done():
			return 0, io.EOF
		case <-r.ended:
		case <-time.After(followStep):
		}
	}
}

// some reads what is there now.
func (r *reader) some(p []byte) (int, error) {
	if r.note.Len() > 0 {
		return r.note.Read(p)
	}
	if r.f == nil {
		f, err := r.open()
		if err != nil {
			return 0, io.EOF // nothing was printed yet, or the output was removed
		}
		r.f = f
	}
	head, tail := r.bounds()
	if r.at < head && head < tail {
		p = p[:min(int64(len(p)), head-r.at)]
	}
	if r.at >= head && r.at < tail {
		r.note.Reset(fmt.Sprintf("\n[… %d bytes left out …]\n", tail-r.at))
		r.at = tail
		return r.note.Read(p)
	}
	n, err := r.f.ReadAt(p, r.at)
	if h, t := r.bounds(); r.at >= h && r.at < t {
		return 0, nil // punched out while we read it: say so the next time
	}
	r.at += int64(n)
	if n > 0 {
		err = nil // the end may not be the end yet
	}
	return n, err
}

// bounds are the head and the tail of the output as it is now.
func (r *reader) bounds() (head, tail int64) {
	fi, err := r.f.Stat()
	if err != nil {
		return 0, 0
	}
	return output.Kept(fi.Size(), r.max)
}

// closed reports whether a channel is closed.
func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
