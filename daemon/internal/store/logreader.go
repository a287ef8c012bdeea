package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/output"
)

// followStep is how often a followed output is looked at.
const followStep = 100 * time.Millisecond

// LogQuery is what is wanted of a job's output.
type LogQuery struct {
	From    int64           // the first byte
	Max     int64           // how much of it was kept, 0 = everything
	Printed bool            // there must be an output: one that is gone is said
	Ended   <-chan struct{} // is closed when nothing follows any more
}

// logReader gives an output from an offset on, without its middle.
type logReader struct {
	LogQuery
	ctx     context.Context
	path    string
	f       *os.File
	at      int64
	seen    int64  // the largest size
	said    bool   // that there is no output
	pending []byte // is given first
}

// ReadLog reads a job's output: the head, a line that says what was left out, the
// tail. It follows the output until the query's end. An output that is not there,
// though there must be one, is said in a line too, and a link is never followed: it
// could lead to any file that the daemon may read.
func (d *Dir) ReadLog(ctx context.Context, id ulid.ULID, q LogQuery) io.ReadCloser {
	return &logReader{LogQuery: q, ctx: ctx, path: d.LogPath(id), at: q.From}
}

// Close is io.Closer's.
func (r *logReader) Close() error {
	if r.f == nil {
		return nil
	}
	return r.f.Close()
}

// Read is io.Reader's. It waits for more while the job runs.
func (r *logReader) Read(p []byte) (int, error) {
	for {
		over := closed(r.Ended)
		n, err := r.some(p, !over)
		if n > 0 || (err != nil && !errors.Is(err, io.EOF)) || over {
			return n, err
		}
		select {
		case <-r.ctx.Done():
			return 0, io.EOF
		case <-r.Ended:
		case <-time.After(followStep):
		}
	}
}

// some reads what is there now. live: the job runs.
func (r *logReader) some(p []byte, live bool) (int, error) {
	if len(r.pending) > 0 {
		return r.give(p), nil
	}
	if err := r.open(); err != nil {
		// A job that runs may not have printed yet: its log comes with the first line.
		if !r.Printed || r.said || live && errors.Is(err, fs.ErrNotExist) {
			return 0, io.EOF
		}
		r.said = true
		r.pending = fmt.Appendf(nil, "[… there is no log: %v …]\n", reasonOfMissing(err))
		return r.give(p), nil
	}
	size, head, tail, err := r.bounds()
	if err != nil {
		return 0, err
	}
	if r.at >= head && r.at < tail {
		return r.skip(p, size, tail, live)
	}
	if r.at < head && head < tail {
		p = p[:min(int64(len(p)), head-r.at)]
	}
	n, err := r.f.ReadAt(p, r.at)
	if _, h, t, bad := r.bounds(); bad == nil && r.at >= h && r.at < t {
		return 0, nil // given back while we read it: the next look skips it
	}
	r.at += int64(n)
	if n > 0 {
		err = nil // the end may not be the end yet
	} else if live {
		r.follow()
	}
	return n, err
}

// give gives what is pending.
func (r *logReader) give(p []byte) int {
	n := copy(p, r.pending)
	r.pending = r.pending[n:]
	return n
}

// skip goes on in the tail, behind a line that says what is left out. While more
// comes, it leaves out a quarter of the tail as well: at its edge the next line of the
// job would overtake it again, and each time a line would say so.
func (r *logReader) skip(p []byte, size, tail int64, live bool) (int, error) {
	if live {
		tail += (size - tail) / 4
	}
	note := fmt.Appendf(nil, "\n[… %d bytes left out …]\n", tail-r.at)
	text := make([]byte, min(size-tail, 32<<10))
	n, err := r.f.ReadAt(text, tail)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if _, h, t, bad := r.bounds(); bad == nil && tail >= h && tail < t {
		return 0, nil // overtaken: again, and one line for both
	}
	r.at, r.pending = tail+int64(n), append(note, text[:n]...)
	return r.give(p), nil
}

// open opens the output, unless it is open.
func (r *logReader) open() error {
	if r.f != nil {
		return nil
	}
	f, err := os.OpenFile(r.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		_ = f.Close()
		return errNoRegularLog
	}
	r.f, r.seen = f, 0
	return nil
}

// follow looks whether a followed output is still the one at its path, and whole: a
// job whose log was taken away has another one by now.
func (r *logReader) follow() {
	here, err := r.f.Stat()
	if err != nil {
		return
	}
	if there, err := os.Lstat(r.path); err == nil && !os.SameFile(here, there) {
		_ = r.f.Close()
		r.f, r.at = nil, 0
	} else if here.Size() < r.seen {
		r.pending = fmt.Append(nil, "\n[… the log was truncated …]\n")
		r.at, r.seen = 0, here.Size()
	}
}

// bounds are the size, and the head and the tail, of the output as it is now.
func (r *logReader) bounds() (size, head, tail int64, err error) {
	fi, err := r.f.Stat()
	if err != nil {
		return 0, 0, 0, err
	}
	size = fi.Size()
	r.seen = max(r.seen, size)
	head, tail = output.Kept(size, r.Max)
	return size, head, tail, nil
}

var errNoRegularLog = errors.New("not a regular file")

// reasonOfMissing says why there is no output to read.
func reasonOfMissing(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("it was removed or renamed, or could not be written")
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EMLINK):
		return errors.New("a symbolic link is in its place, which is not followed")
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
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
