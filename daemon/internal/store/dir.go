package store

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"dispatchd/ipc"
)

// Options of a state directory.
type Options struct{ Log *slog.Logger }

// Dir is an open state directory, ours alone.
type Dir struct {
	path string
	lock *flock.Flock
	log  *slog.Logger
}

// Open makes the directory where it is missing and takes its lock. A second
// daemon gets an *ipc.Error of KindLocked.
func Open(path string, o Options) (*Dir, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Join(path, "logs"), 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	lock := flock.New(filepath.Join(path, "lock"), flock.SetPermissions(0o600), flock.SetFlag(os.O_CREATE|os.O_RDWR))
	got, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("state directory lock: %w", err)
	}
	if !got {
		p := ipc.Errorf(ipc.KindLocked, "another daemon uses %s", path)
		if pid, err := os.ReadFile(filepath.Join(path, "lock")); err == nil && len(pid) > 0 {
			p.Detail += " (process " + string(pid) + ")"
			p.Holder = string(pid)
		}
		p.Suggestion = "stop it first, or give this one a --root of its own"
		return nil, p
	}
	_ = os.WriteFile(filepath.Join(path, "lock"), fmt.Append(nil, os.Getpid()), 0o600)
	return &Dir{path: path, lock: lock, log: o.Log}, nil
}

// Close gives the lock back.
func (d *Dir) Close() error { return d.lock.Close() }

// file is a path below the directory.
func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

// syncDir makes a rename or a new file durable.
func (d *Dir) syncDir() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}
