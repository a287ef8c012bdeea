// Package lockfile is the protocol of the lock files: flock(2) on files that
// stay, so that what dies frees its lock, and flock(1) beside us is honoured.
// The holder of an exclusive lock writes who it is into the file; that text is
// a help for people, the kernel's lock is the truth.
package lockfile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ValidName reports whether a lock may have this name.
func ValidName(name string) bool {
	if name == "" || len(name) > 128 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !plain && (i == 0 || strings.IndexByte("_.:-", c) < 0) {
			return false
		}
	}
	return true
}

// Holder is what the holder of an exclusive lock says of itself.
type Holder struct {
	Job     string `json:"job,omitempty"`
	PID     int    `json:"pid"`
	Start   int64  `json:"start,omitempty"` // when it took the lock, Unix seconds
	Command string `json:"command,omitempty"`
}

// BusyError says that somebody else holds the lock. Holder.PID is 0 where it
// is not known.
type BusyError struct {
	Path   string
	Holder Holder
}

// Error names the holder.
func (e *BusyError) Error() string {
	switch h := e.Holder; {
	case h.PID == 0:
		return e.Path + ": held by another process"
	case h.Job != "":
		return fmt.Sprintf("%s: held by process %d for job %s", e.Path, h.PID, h.Job)
	case h.Command != "":
		return fmt.Sprintf("%s: held by process %d (%.60q)", e.Path, h.PID, h.Command)
	}
	return fmt.Sprintf("%s: held by process %d", e.Path, e.Holder.PID)
}

// Path is the file of a lock.
func Path(dir, name string) string { return filepath.Join(dir, name+".lock") }

// Try takes the lock NAME.lock in dir without waiting, or says who holds it in
// a *BusyError. The file that comes back is the lock: Release it.
func Try(dir, name string, shared bool, h Holder) (*os.File, error) {
	if !ValidName(name) {
		return nil, fmt.Errorf("lock name %q: not allowed; use letters, digits, and . _ : - behind the first", name)
	}
	path := Path(dir, name)
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	inherit(f, dir)
	how := unix.LOCK_EX
	if shared {
		how = unix.LOCK_SH
	}
	if err := flock(f, how|unix.LOCK_NB); err != nil {
		defer func() { _ = f.Close() }()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &BusyError{Path: path, Holder: whoHolds(f)}
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !shared {
		write(f, h)
	}
	return f, nil
}

// open opens a lock file, and makes it where it is missing. os.OpenFile would
// offer it to the poller, with five calls more.
func open(path string) (*os.File, error) {
	for {
		fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o660)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path), nil
		case !errors.Is(err, unix.EINTR):
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// inherit gives a lock file of ours the directory's group and lets the group
// take the lock: who may notify may lock.
func inherit(f *os.File, dir string) {
	var of, in unix.Stat_t
	if unix.Stat(dir, &in) != nil || unix.Fstat(int(f.Fd()), &of) != nil || int(of.Uid) != os.Geteuid() {
		return
	}
	if of.Gid != in.Gid {
		_ = f.Chown(-1, int(in.Gid))
	}
	if of.Mode&0o777 != 0o660 {
		_ = f.Chmod(0o660)
	}
}

// flock retries a call that a signal broke off.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Describe puts who holds an exclusive lock into its file, after somebody else
// got hold of it.
func Describe(f *os.File, h Holder) { write(f, h) }

// write puts the holder into the file. A full disk does not matter to a lock.
func write(f *os.File, h Holder) {
	if h.Start == 0 {
		h.Start = time.Now().Unix()
	}
	text, err := json.Marshal(h)
	if err != nil {
		return
	}
	text = append(text, '\n')
	_, _ = f.WriteAt(text, 0)
	var is unix.Stat_t
	if unix.Fstat(int(f.Fd()), &is) == nil && is.Size > int64(len(text)) { // the one before had more to say
		_ = f.Truncate(int64(len(text)))
	}
}

// whoHolds finds the holder: by the kernel where it tells, else by the text.
func whoHolds(f *os.File) Holder {
	return settle(f, described(f), kernelHolder(f))
}

// described is what the file's text says of its holder.
func described(f *os.File) Holder {
	var h Holder
	text, _ := io.ReadAll(io.LimitReader(f, 4096))
	_ = json.Unmarshal(text, &h)
	return h
}

// settle decides between the text and the kernel, who names another process.
// The kernel names who took the lock; who inherited it may be named by the
// text. A process of another user cannot be looked into: the text about it is
// believed unless the one that the kernel names is seen to have the lock.
func settle(f *os.File, text Holder, kernel int) Holder {
	if kernel == 0 || kernel == text.PID {
		return text
	}
	has, seen := holds(text.PID, f)
	if !has && !seen {
		taker, _ := holds(kernel, f)
		has = !taker
	}
	if has {
		return text
	}
	return Holder{PID: kernel}
}

// waitStep is how often a waiting command tries again.
const waitStep = 200 * time.Millisecond

// Wait takes a lock as soon as it is free, or ends with ctx. It is for
// people's commands; the daemon never waits.
func Wait(ctx context.Context, dir, name string, shared bool, h Holder) (*os.File, error) {
	tick := time.NewTicker(waitStep)
	defer tick.Stop()
	for {
		f, err := Try(dir, name, shared, h)
		if _, busy := errors.AsType[*BusyError](err); !busy {
			return f, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// Release frees the lock by closing it, never by unlocking: the lock of an
// inherited descriptor must live on. The holder's text goes first.
func Release(f *os.File) {
	_ = f.Truncate(0)
	_ = f.Close()
}
