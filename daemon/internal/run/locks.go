package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"syscall"

	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/lockfile"
)

// LockDirs are the directories of lock files.
type LockDirs struct {
	Dispatchers string // of each dispatcher's own lock
	Named       string // of the locks that definitions name
}

// LocksIn are the lock directories of a daemon.
func LocksIn(p ipc.Paths) LockDirs {
	return LockDirs{Dispatchers: p.DispatcherLocks(), Named: p.Locks()}
}

// Locks are the kernel locks that an attempt holds. One goroutine at a time uses
// them: the owner until Run, then the attempt's. A nil *Locks holds none.
type Locks struct{ list []lock }

// lock is one of them. The open file is the lock.
type lock struct {
	file   *os.File
	shared bool
}

// BusyError says which lock could not be taken. It wraps a *lockfile.BusyError
// where somebody holds the lock, else what went wrong with its file.
type BusyError struct {
	Lock string // its name; dispatcher:NAME is a dispatcher's own
	PID  int    // who holds it, 0 = not known
	Err  error
}

// Error names the lock.
func (e *BusyError) Error() string { return fmt.Sprintf("lock %s: %v", e.Lock, e.Err) }

// Unwrap is for errors.Is.
func (e *BusyError) Unwrap() error { return e.Err }

// Held reports whether somebody holds the lock, so that waiting may help.
func (e *BusyError) Held() bool {
	_, held := errors.AsType[*lockfile.BusyError](e.Err)
	return held
}

// TryLocks takes the dispatcher's own lock and the named ones of a job with these
// arguments, all or none, without waiting. The error is a *BusyError. Each process
// takes them in the same order, the dispatcher's own first and the named ones by
// name, and gives all back when one is held: so two of them cannot hold each other
// up for ever.
func (r *Runner) TryLocks(s *dispatchers.Spec, args json.RawMessage, h lockfile.Holder) (*Locks, error) {
	var l Locks
	err := l.try(r.Locks.Dispatchers, s.Name, "dispatcher:"+s.Name, s.Concurrency != 1, h)
	if err != nil {
		return nil, err
	}
	// Arguments that name no lock were refused when the job was accepted. If a
	// reload changed the templates since, the job runs without named locks.
	named, _ := s.Locks(args)
	for _, n := range named {
		if err := l.try(r.Locks.Named, n.Name, n.Name, n.Shared, h); err != nil {
			l.Release()
			return nil, err
		}
	}
	return &l, nil
}

// Retake has the locks of an active attempt be found held by those who come by their
// names: where a lock's file was removed or replaced, it is made again and held until
// ReleaseRetaken. It names those that it took. Owner only.
func (r *Runner) Retake(a *Attempt, h lockfile.Holder) (names []string, err error) {
	retake := func(dir, name, label string, shared bool) {
		f, failed := lockfile.Retake(dir, name, shared, h)
		if err = errors.Join(err, failed); f != nil {
			a.retaken.Add(f, shared)
			names = append(names, label)
		}
	}
	retake(r.Locks.Dispatchers, a.Spec.Name, "dispatcher:"+a.Spec.Name, a.Spec.Concurrency != 1)
	named, _ := a.Spec.Locks(a.Job.Arguments)
	for _, n := range named {
		retake(r.Locks.Named, n.Name, n.Name, n.Shared)
	}
	return names, err
}

// try adds one lock.
func (l *Locks) try(dir, name, label string, shared bool, h lockfile.Holder) error {
	f, err := lockfile.Try(dir, name, shared, h)
	if err != nil {
		busy, _ := errors.AsType[*lockfile.BusyError](err)
		e := &BusyError{Lock: label, Err: err}
		if busy != nil {
			e.PID = busy.Holder.PID
		}
		return e
	}
	l.Add(f, shared)
	return nil
}

// Add adds a lock that is held already: the last image of the program has passed
// its descriptor on.
func (l *Locks) Add(f *os.File, shared bool) { l.list = append(l.list, lock{f, shared}) }

// All gives each lock's file, and whether it is shared.
func (l *Locks) All() iter.Seq2[*os.File, bool] {
	return func(yield func(*os.File, bool) bool) {
		if l == nil {
			return
		}
		for _, k := range l.list {
			if !yield(k.file, k.shared) {
				return
			}
		}
	}
}

// Release frees the locks. A second call does nothing.
//
// A fork that is under way in another goroutine has copies of our descriptors
// until its exec closes them, and with them the locks: the next attempt would find
// them held and try again only a second later. syscall.ForkLock is held from
// before a fork until after its exec, so who holds it for reading waits that out.
func (l *Locks) Release() { l.free(lockfile.Release) }

// leave closes this process's copies of locks that a supervisor has inherited. The
// locks stay held, and so stays the holder's text in their files.
func (l *Locks) leave() { l.free(func(f *os.File) { _ = f.Close() }) }

// free gives each lock's file to fn while no fork is under way, and forgets it.
func (l *Locks) free(fn func(*os.File)) {
	if l == nil || len(l.list) == 0 {
		return
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	for _, k := range l.list {
		fn(k.file)
	}
	l.list = nil
}

// describe writes the process that holds the locks now into the exclusive ones'
// files. A shared lock has many holders, and names none.
func (l *Locks) describe(h lockfile.Holder) {
	for f, shared := range l.All() {
		if !shared {
			lockfile.Describe(f, h)
		}
	}
}

// files are the open files, for a child to inherit.
func (l *Locks) files() []*os.File {
	var list []*os.File
	for f := range l.All() {
		list = append(list, f)
	}
	return list
}
