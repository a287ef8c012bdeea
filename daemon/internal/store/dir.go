package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// Options of a state directory.
type Options struct {
	// LockFile is the file that the last image of the program got of Dir.LockFile,
	// nil = none.
	LockFile *os.File
}

// Dir is an open state directory, ours alone.
type Dir struct {
	path string
	lock *flock.Flock
}

// lockWait bounds how long a start waits for the lock of another daemon, and
// lockStep is how often it tries.
const (
	lockWait = 2 * time.Second
	lockStep = 5 * time.Millisecond
)

// Open makes the directory where it is missing and takes its lock. A second
// daemon gets an *ipc.Error of KindLocked.
func Open(path string, o Options) (*Dir, error) {
	if err := makeDir(filepath.Join(path, "logs"), 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	startLock := o.LockFile
	if startLock == nil {
		var err error
		if startLock, err = inheritLock(path); err != nil {
			return nil, err
		}
	}
	defer func() { _ = startLock.Close() }()
	lock, got, err := tryLock(filepath.Join(path, "lock"))
	if err != nil {
		return nil, fmt.Errorf("state directory lock: %w", err)
	}
	if !got {
		return nil, inUse(path)
	}
	_ = os.WriteFile(filepath.Join(path, "lock"), fmt.Append(nil, os.Getpid()), 0o600)
	return &Dir{path: path, lock: lock}, nil
}

// inUse says who has the directory.
func inUse(path string) error {
	p := ipc.Errorf(ipc.KindLocked, "another daemon uses %s", path)
	if pid, err := os.ReadFile(filepath.Join(path, "lock")); err == nil && len(pid) > 0 {
		p.Detail += " (process " + string(pid) + ")"
		p.Holder = string(pid)
	}
	p.Suggestion = "stop it first, or give this one a --root of its own"
	return p
}

// inheritLock takes the lock under which the directory's lock is taken. It is
// free but for the moment of a start, and for the moment in which one image of
// the program has let go of the directory's lock and the next does not have it.
func inheritLock(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, "lock.start"), os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, syscall.EROFS) {
		f, err = os.Open(filepath.Join(path, "lock.start"))
	}
	if err != nil {
		return nil, fmt.Errorf("state directory lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, inUse(path)
	}
	return f, nil
}

// LockFile keeps other daemons out while this process becomes another image,
// which closes the directory's lock. It is inherited and given to Open there.
func (d *Dir) LockFile() (*os.File, error) { return inheritLock(d.path) }

// Close gives the lock back.
func (d *Dir) Close() error { return d.lock.Close() }

// tryLock takes the lock file.
//
// A child that a killed daemon was just forking has its descriptors, and so
// its lock, until it executes its program. On a busy machine that was one start
// in twenty that came right after a kill: so it waits a moment.
func tryLock(path string) (*flock.Flock, bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	lock := flock.New(path, flock.SetPermissions(0o600), flock.SetFlag(os.O_CREATE|os.O_RDWR))
	got, err := lock.TryLockContext(ctx, lockStep)
	if errors.Is(err, syscall.EROFS) { // what is there can still be asked for
		lock = flock.New(path, flock.SetFlag(os.O_RDONLY))
		got, err = lock.TryLockContext(ctx, lockStep)
	}
	if ctx.Err() != nil {
		err = nil
	}
	return lock, got, err
}
