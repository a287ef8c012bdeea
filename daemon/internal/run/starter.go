package run

import (
	"errors"
	"os"
	"syscall"
	"time"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/shim"
	"dispatchd/ipc/lockfile"
)

// Child is what runs an attempt, or stands for it: a process of ours, or the
// supervisor of one. Its methods may be called by any goroutine.
type Child interface {
	Done() <-chan struct{} // closed when the end and everything about it is known
	Exit() proc.Exit       // waits for the end
	Stop() error           // ends it as its kill_mode says; does not wait
	Signal(syscall.Signal) error
	Extend(time.Duration) error // gives it that much time from now
	Leave()                     // ends the watch over one that goes on without us; Done stays open
	Supervised() bool           // it runs under a supervisor, which holds its locks
}

// Spare is a supervisor whose job has ended and that can serve the next job of its
// dispatcher. A Child that leaves one has a method Spare() Spare, which is called
// after Done.
type Spare interface {
	Discard() // ends it
}

// Request is what a Starter is asked for.
type Request struct {
	Launch  proc.Launch
	Locks   *Locks // for a supervisor to inherit; a direct child gets none
	Survive bool   // the job is to outlive this process
	Spare   Spare  // nil = none. The starter uses it or discards it
	Update  func(proc.Update)
}

// Starter starts a child: one of ours, a supervised one, or in tests a played one.
// After an error there is no child and no file of it, and the locks are as before.
type Starter func(Request) (Child, error)

// errNoSupervisor is for programs that embed the daemon without a shim.
var errNoSupervisor = errors.New(`kill_mode "tree" and leftovers "kill" need a shim, and this program has none`)

// Supervised is the daemon's Starter. program is the argv of the supervisor's
// program, nil = none. A job that is to outlive the daemon, or whose descendants
// have to be found, gets a supervisor; the others are direct children, which is one
// process less.
func Supervised(program []string) Starter {
	return func(q Request) (Child, error) {
		switch {
		case !q.Launch.NeedsShim() && (program == nil || !q.Survive):
			discard(q.Spare)
			return startDirect(q)
		case program == nil:
			discard(q.Spare)
			return nil, errNoSupervisor
		}
		return startSupervised(program, q)
	}
}

// startDirect starts a child of ours.
func startDirect(q Request) (Child, error) {
	prepared, err := proc.Prepare(q.Launch)
	if err != nil {
		return nil, err
	}
	p, err := prepared.Start(q.Update)
	if err != nil {
		prepared.Discard()
		return nil, err // not direct{p}: that is no nil Child
	}
	return direct{p}, nil
}

// startSupervised has the spare supervisor serve the job, or starts one. It holds the
// locks from then on, and is named as their holder.
func startSupervised(program []string, q Request) (Child, error) {
	locks := q.Locks.files()
	c, err := useSpare(q, locks)
	if errors.Is(err, shim.ErrNoSpare) {
		c, err = shim.Start(program, q.Launch, locks, true, q.Update)
	}
	if err != nil {
		return nil, err
	}
	q.Locks.describe(lockfile.Holder{Job: q.Launch.Job, PID: c.PID()})
	return supervised{c}, nil
}

// useSpare has the spare supervisor serve the job. shim.ErrNoSpare: there is none
// that can, and nothing was started.
func useSpare(q Request, locks []*os.File) (*shim.Client, error) {
	s, ok := q.Spare.(*shim.Spare)
	if !ok {
		discard(q.Spare)
		return nil, shim.ErrNoSpare
	}
	return s.Next(q.Launch, locks, q.Update)
}

// Foreground is the Starter of dispatchd run. This process does nothing else, so
// it is its own supervisor: the child dies with it, and all that the child starts
// can be followed. The calling goroutine must be locked to its thread, for the
// kernel ends the child with the thread that forked it (PR_SET_PDEATHSIG in
// prctl(2)). Nobody shows progress there, so the child gets no notify socket.
func Foreground(q Request) (Child, error) {
	l := q.Launch
	l.SelfSupervised, l.NotifySocket = true, ""
	p, err := proc.Start(l, q.Update)
	if err != nil {
		return nil, err
	}
	return direct{p}, nil
}

// direct is a child of ours.
type direct struct{ *proc.Process }

// Supervised is Child's.
func (direct) Supervised() bool { return false }

// supervised is a child under a supervisor.
type supervised struct{ *shim.Client }

// Supervised is Child's.
func (supervised) Supervised() bool { return true }

// Spare is the supervisor, after Done, if it can serve another job.
func (s supervised) Spare() Spare {
	if left := s.Client.Spare(); left != nil {
		return left
	}
	return nil // not left: that is no nil Spare
}
