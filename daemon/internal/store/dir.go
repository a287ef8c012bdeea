package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"dispatchd/ipc"
	"dispatchd/ipc/lockfile"
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

	mu    sync.Mutex
	locks []*flock.Flock // the newest last: whoever finds its file gone makes it again, and keeps the old one
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
	lock, err := takeLock(path)
	if err != nil {
		return nil, err
	}
	return &Dir{path: path, locks: []*flock.Flock{lock}}, nil
}

// takeLock takes the directory's lock and writes our process into its file. The
// name must mean the file that was locked, and nobody may hold one that was removed
// from there: that is a daemon too.
func takeLock(path string) (*flock.Flock, error) {
	name := filepath.Join(path, "lock")
	_, missing := os.Lstat(name)
	for {
		lock, got, err := tryLock(name)
		if err != nil {
			return nil, fmt.Errorf("state directory lock: %w", err)
		}
		if !got {
			return nil, inUse(path)
		}
		if !means(name, lock) {
			_ = lock.Close()
			continue
		}
		if missing != nil {
			if pid, held := lockfile.Orphaned(name, false); held && pid != os.Getpid() {
				err := os.WriteFile(name, fmt.Append(nil, pid), 0o600)
				return nil, errors.Join(inUse(path), err, os.Remove(name), lock.Close())
			}
		}
		_ = os.WriteFile(name, fmt.Append(nil, os.Getpid()), 0o600)
		return lock, nil
	}
}

// KeepLock has the directory's lock be found by others: where its file is gone, or is
// another one, it is made and locked again. It reports whether that was so. The error
// says that another daemon was faster, or what keeps the file from being made.
func (d *Dir) KeepLock() (again bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if means(filepath.Join(d.path, "lock"), d.locks[len(d.locks)-1]) {
		return false, nil
	}
	if err := makeDir(d.path, 0o700); err != nil {
		return true, fmt.Errorf("state directory: %w", err)
	}
	lock, err := takeLock(d.path)
	if err != nil {
		return true, err
	}
	d.locks = append(d.locks, lock)
	return true, nil
}

// ID names the directory for good, from the first journal in it on; "" = it has no
// name, or that cannot be read.
func (d *Dir) ID() string {
	if id := (&writer{disk: osDisk{d.path}}).readID(); id != unreadable {
		return id
	}
	return ""
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
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	for _, lock := range d.locks {
		err = errors.Join(err, lock.Close())
	}
	return err
}

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
