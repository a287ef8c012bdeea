// Package lockfile is the protocol of the lock files: flock(2) on files that nobody
// of us removes. The kernel frees the lock of a process that dies, and a script
// that uses flock(1) on the same file is excluded like a job.
//
// The holder of an exclusive lock writes its job and its pid into the file. That
// text helps people to find the holder; only the kernel's lock excludes anybody.
//
// A lock belongs to the open file description (flock(2)), not to the process: a
// child that inherits the descriptor keeps the lock after its parent has closed
// its own. So a lock is freed by close alone. LOCK_UN would free it for every
// process that shares the description, such as the supervisor of a running job.
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

// Holder is what the holder of an exclusive lock writes into the lock file.
type Holder struct {
	Job     string `json:"job,omitempty"`
	PID     int    `json:"pid"`
	Start   int64  `json:"start,omitempty"` // when it took the lock, Unix seconds
	Command string `json:"command,omitempty"`
}

// BusyError reports that another open file description holds the lock.
// Holder.PID is 0 where the holder is not known.
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

// Try takes the lock NAME.lock in dir without waiting. If it is held, the error
// is a *BusyError that names the holder. The returned file is the lock; the
// caller frees it by Release.
func Try(dir, name string, shared bool, h Holder) (*os.File, error) {
	if !ValidName(name) {
		return nil, fmt.Errorf("lock name %q: not allowed; use letters, digits, and . _ : - behind the first", name)
	}
	how, path := unix.LOCK_EX, Path(dir, name)
	if shared {
		how = unix.LOCK_SH
	}
	for range renewals {
		f, made, err := open(path)
		if err != nil {
			return nil, err
		}
		ownAsDirectory(f, dir)
		err = flock(f, how|unix.LOCK_NB)
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !current(f) { // it was removed or replaced since it was opened
			_ = f.Close()
			continue
		}
		return settle(f, made, shared, err != nil, h)
	}
	return nil, fmt.Errorf("lock %s: its file is replaced again and again", path)
}

// settle ends a try on the file that the name means: it is the lock, or busy.
func settle(f *os.File, made, shared, busy bool, h Holder) (*os.File, error) {
	if busy {
		defer func() { _ = f.Close() }()
		return nil, &BusyError{Path: f.Name(), Holder: findHolder(f)}
	}
	if made { // rarely: the first time since the machine started, or somebody removed the file
		if pid, held := Orphaned(f.Name(), shared); held {
			// The next try is to look again. Whoever has opened this file meanwhile sees
			// that the name does not mean it.
			_ = unix.Unlink(f.Name())
			_ = f.Close()
			return nil, &BusyError{Path: f.Name(), Holder: Holder{PID: pid}}
		}
	}
	var is unix.Stat_t
	switch {
	case !shared:
		write(f, h)
	case unix.Fstat(int(f.Fd()), &is) == nil && is.Size > maxText:
		_ = f.Truncate(maxText)
	}
	return f, nil
}

// open opens a lock file, or makes it where it is missing. O_NOFOLLOW: a link
// that somebody planted in the directory is an error, not followed. os.OpenFile
// would also register the file with the poller: five system calls more a lock.
func open(path string) (f *os.File, made bool, err error) {
	const flags = unix.O_RDWR | unix.O_NOFOLLOW | unix.O_CLOEXEC
	for range renewals {
		fd, err := unix.Open(path, flags, 0)
		if made = errors.Is(err, unix.ENOENT); made {
			fd, err = unix.Open(path, flags|unix.O_CREAT|unix.O_EXCL, 0o660)
		}
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path), made, nil
		case errors.Is(err, unix.EINTR), made && errors.Is(err, unix.EEXIST):
		default:
			return nil, false, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
	return nil, false, &os.PathError{Op: "open", Path: path, Err: unix.EAGAIN}
}

// ownAsDirectory gives a lock file that this user owns the group of its directory
// and mode 0660: members of the socket's group, who may notify, may also lock.
func ownAsDirectory(f *os.File, dir string) {
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

// flock calls flock(2) again when a signal interrupted it.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Describe writes a new holder into the file of an exclusive lock, after the
// process that took it has passed the descriptor on.
func Describe(f *os.File, h Holder) { write(f, h) }

// write puts the holder into the file. Errors are ignored: a lock works without
// its text, for example on a full disk.
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
	if unix.Fstat(int(f.Fd()), &is) == nil && is.Size > int64(len(text)) { // the previous holder's text was longer
		_ = f.Truncate(int64(len(text)))
	}
}

// findHolder names the holder by the kernel's list of locks where there is one,
// else by the file's text.
func findHolder(f *os.File) Holder {
	return mergeHolder(f, textHolder(f), kernelHolder(f))
}

// textHolder reads the holder that the file's text names.
func textHolder(f *os.File) Holder {
	var h Holder
	text, _ := io.ReadAll(io.LimitReader(f, 4096))
	_ = json.Unmarshal(text, &h)
	return h
}

// mergeHolder chooses between the holder in the file's text and the pid in the
// kernel's list of locks, 0 = not known. The kernel names the process that took
// the lock; the text may name the process that inherited it since, which is the
// better answer if that one has the lock open. The descriptors of another user's
// process cannot be read: then the text counts, unless the process that the
// kernel names is seen to have the lock open.
func mergeHolder(f *os.File, text Holder, kernel int) Holder {
	if kernel == 0 || kernel == text.PID {
		return text
	}
	has, seen := hasLock(text.PID, f)
	if !has && !seen {
		taker, _ := hasLock(kernel, f)
		has = !taker
	}
	if has {
		return text
	}
	return Holder{PID: kernel}
}

// waitStep is how often Wait tries again. flock(2) without LOCK_NB cannot be
// ended by a context.
const waitStep = 200 * time.Millisecond

// Wait takes a lock as soon as it is free. When ctx is done, it returns the
// *BusyError of its last try. Commands call it; the daemon never waits for a
// lock.
func Wait(ctx context.Context, dir, name string, shared bool, h Holder) (*os.File, error) {
	ticker := time.NewTicker(waitStep)
	defer ticker.Stop()
	for {
		f, err := Try(dir, name, shared, h)
		if _, busy := errors.AsType[*BusyError](err); !busy {
			return f, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// Release empties the holder's text and frees the lock by closing the file. It
// must not be called for a lock that a child has inherited: that child's text
// would be lost. Close the file in that case.
func Release(f *os.File) {
	_ = f.Truncate(0)
	_ = f.Close()
}
