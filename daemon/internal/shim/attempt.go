package shim

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
)

// Descriptors that a supervisor is born with, and that a next brings in the same
// order. The locks come after them.
const (
	launchFD   = 3 // the record of the launch, then EOF
	listenerFD = 4 // of the attempt's socket; in version 1 the FIFO
	lockFD     = 5
)

// settleAfter is when a job that runs is taken for one that lasts.
const settleAfter = 250 * time.Millisecond

// attempt is one attempt of a job, as its supervisor has it. Descriptors that are
// not there are -1.
type attempt struct {
	launch   proc.Launch
	locks    []int
	listener int
	fifo     fifo
	run      int // .run
	status   int // what becomes .status
	child    *proc.Child
	death    int  // is readable when the child is dead
	quiet    bool // all writers of the child's progress pipe are gone
	last     proc.Update
	late     bool
	ended    bool
	settle   time.Time // when it has lasted a while; zero = it has
}

// newAttempt makes the attempt that a supervisor was born for by the text of a launch,
// or says why there is none, and its files: from here on it counts as started.
func newAttempt(text []byte, err error) (*attempt, error) {
	a := emptyAttempt(listenerFD)
	if err != nil {
		return a, err
	}
	if isLegacy(text) {
		a.launch, err = a.bornLegacy(text)
	} else {
		var n int
		a.launch, n, err = parseRecord(text)
		for i := range n {
			a.locks = append(a.locks, lockFD+i)
		}
	}
	if err != nil {
		return a, err
	}
	return a, a.create()
}

// nextAttempt makes the attempt that a peer has sent the descriptors of, in the order
// of birth. They belong to the attempt, also after an error.
func nextAttempt(fds []int) (*attempt, error) {
	a := emptyAttempt(-1)
	if len(fds) < lockFD-launchFD {
		a.locks = fds
		return a, errNoDescriptors
	}
	launch := fds[0]
	a.listener, a.locks = fds[1], fds[2:]
	text, err := readLaunch(launch)
	if err != nil {
		return a, err
	}
	var n int
	if a.launch, n, err = parseRecord(text); err != nil {
		return a, err
	}
	if n != len(a.locks) {
		return a, errNoDescriptors
	}
	return a, a.create()
}

// errNoDescriptors says that a next came without what belongs to it.
var errNoDescriptors = errors.New("next: launch, socket and locks must come with it")

// emptyAttempt is an attempt of which nothing is known.
func emptyAttempt(listener int) *attempt {
	return &attempt{listener: listener, fifo: fifo{fd: -1}, run: -1, status: -1, death: -1}
}

// create makes .run, and has what was reserved for .status. A daemon that has marked
// the attempt as prepared has reserved it, and where the mark is gone nothing starts.
func (a *attempt) create() (err error) {
	a.launch.SelfSupervised = true
	f := a.launch.Files
	if a.listener >= 0 {
		a.fifo = openFifo(f)
	}
	reserve := reserveOutcome
	if a.launch.Marked {
		reserve = takeReserved
	}
	if a.status, err = reserve(f); err != nil {
		return runDirectory(err)
	}
	self := proc.IdentityIn(a.launch.Boot, os.Getpid())
	if a.run, err = f.Create(proc.StartRecord{Supervisor: &self, NeverKill: a.launch.KillMode.Never()}); err != nil {
		return runDirectory(err)
	}
	if a.launch.Marked {
		if err := f.TakeMark(f.NewStatus()); err != nil {
			return runDirectory(err)
		}
	}
	return nil
}

// start starts the job. noJobError: that could not be done, and is how the job ended.
func (a *attempt) start(now time.Time) error {
	made, err := proc.Prepare(a.launch)
	if err != nil {
		return noJobError{err}
	}
	if a.child, err = made.Fork(); err != nil {
		made.Discard()
		return noJobError{err}
	}
	child := a.child.Identity()
	// A full run directory must not end a job that has started: its daemon is told of
	// the child as well.
	_ = proc.Append(a.run, proc.StartRecord{Child: &child, Tree: a.child.TreePath()})
	if a.death, err = proc.ExitDescriptor(child.PID); err != nil {
		return err // it dies with us
	}
	a.settle = now.Add(settleAfter)
	return nil
}

// restore makes the files anew that somebody has removed, for a daemon that looks for
// this attempt. What cannot be made is left out: the end is told all the same.
func (a *attempt) restore() {
	f := a.launch.Files
	if a.ended || a.child == nil || f.MakeDirectory() != nil {
		return
	}
	self, child := proc.IdentityIn(a.launch.Boot, os.Getpid()), a.child.Identity()
	record := proc.StartRecord{Supervisor: &self, Child: &child, Tree: a.child.TreePath(), NeverKill: a.launch.KillMode.Never()}
	if run, err := f.Create(record); err == nil { // it was gone
		_ = unix.Close(a.run)
		a.run = run
	}
	var st unix.Stat_t
	if unix.Stat(f.NewStatus(), &st) != nil {
		if status, err := reserveOutcome(f); err == nil {
			_ = unix.Close(a.status)
			a.status = status
		}
	}
	if unix.Stat(f.Socket(), &st) != nil {
		if listener, err := listen(f.Socket()); err == nil {
			_ = unix.Close(a.listener)
			a.listener = listener
		}
	}
}

// noJobError says why a job could not be started.
type noJobError struct{ error }

// advance does what is due, and tells when something will be due again, zero = only
// events matter. done: finish is next.
func (a *attempt) advance(now time.Time) (next time.Time, done bool) {
	if next, done = a.child.Advance(now); done {
		return next, true
	}
	if !a.settle.IsZero() && !now.Before(a.settle) {
		// It may last for longer: the pages that only the start touched are given back.
		a.settle = time.Time{}
		_ = proc.ReturnProgram() // they can stay
	}
	return proc.Earlier(next, a.settle), false
}

// finish writes the end down, and then lets go of the locks. What only the run of
// the job needed goes first.
func (a *attempt) finish(e proc.Exit) error {
	if a.child != nil && !a.ended {
		a.child.Close()
	}
	a.ended = true
	_ = unix.Unlink(a.launch.Files.Args())
	err := writeOutcome(a.launch.Files, a.status, e)
	a.status = -1
	if err != nil {
		return fmt.Errorf("the end cannot be written down: %w", err)
	}
	a.free()
	return nil
}

// free lets go of the locks.
func (a *attempt) free() {
	for _, fd := range a.locks {
		_ = unix.Close(fd)
	}
	a.locks = nil
}

// close gives back what is left of an attempt that is over, or was never started.
func (a *attempt) close() {
	for _, fd := range append([]int{a.listener, a.fifo.fd, a.run, a.status, a.death}, a.locks...) {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	a.listener, a.fifo.fd, a.run, a.status, a.death, a.locks = -1, -1, -1, -1, -1, nil
}

// tracked reports whether the supervisor has to follow all that the job starts.
func (a *attempt) tracked() bool { return a.launch.NeedsTree() }

// tell keeps what the job says of itself, for those who ask later.
func (a *attempt) tell(u proc.Update) {
	if u.Late {
		a.late = true
		return
	}
	a.last = u
}

// describe is the attempt's status now.
func (a *attempt) describe(now time.Time) *Status {
	s := &Status{Phase: Running, Progress: a.last.Progress(), Late: a.late}
	if a.ended {
		s.Phase = Ended
	}
	if a.child != nil && !a.ended {
		child := a.child.Identity()
		s.Child, s.Left = &child, a.child.Left(now)
		s.Tree, s.NeverKill = a.child.TreePath(), a.launch.KillMode.Never()
	}
	return s
}

// readLaunch reads a descriptor to its end, and closes it.
func readLaunch(fd int) ([]byte, error) {
	defer func() { _ = unix.Close(fd) }()
	b := make([]byte, 0, 4096)
	for {
		n, err := unix.Read(fd, b[len(b):cap(b)])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, errNoLaunch
		case n == 0:
			return b, nil
		}
		if b = b[:len(b)+n]; len(b) > maxLaunch {
			return nil, errTooLong
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
	}
}
