package run

import (
	"os"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/launch"
	"dispatchd/daemon/internal/output"
	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// Attempt is one attempt of a job. Its exported fields are set by New and do not
// change: any goroutine may read them. The locks belong to the attempt's goroutine
// from Run on. All below belongs to the owner, which is the daemon's loop: only
// methods that say so touch it, and Run calls none of them.
type Attempt struct {
	ID    ulid.ULID
	Job   launch.Job
	Spec  *dispatchers.Spec // of this attempt, whatever a reload does meanwhile
	Files proc.AttemptFiles
	Since time.Time

	// Marked says that Files has .prepared: set before Run.
	Marked bool
	Spare  Spare // of the attempt before, nil = none; set before Run, which uses it up or discards it

	locks *Locks

	child    Child // nil until the owner has heard of it
	retaken  Locks // on files that were made again beside those that locks or a supervisor has
	canceled bool
	late     bool
	progress *ipc.Progress
	deadline time.Time // of the timeout, zero = there is none, or it is not known yet
}

// New makes the n-th attempt of a job. locks are those that TryLocks has taken for
// it, nil = none.
func New(job *store.Job, n int, s *dispatchers.Spec, files proc.AttemptFiles, locks *Locks) *Attempt {
	return &Attempt{
		ID: job.ID, Spec: s, Files: files, Since: time.Now(), locks: locks,
		Job: launch.Job{ID: job.ID.String(), Dispatcher: job.Dispatcher, Attempt: n, Origin: job.Origin, Arguments: job.Arguments},
	}
}

// Attach notes the child that Events.Started told of. A cancel that came before
// the child did is carried out now. Owner only.
func (a *Attempt) Attach(c Child) error {
	a.child = c
	if a.Spec.Timeout > 0 {
		a.deadline = time.Now().Add(a.Spec.Timeout)
	}
	if a.canceled {
		return c.Stop()
	}
	return nil
}

// Cancel marks the attempt as canceled by somebody, and stops its child, now or as
// soon as there is one. Owner only.
func (a *Attempt) Cancel() error {
	a.canceled = true
	return a.Stop()
}

// Stop stops the child as its kill_mode says, if there is one, and does not wait.
// Owner only.
func (a *Attempt) Stop() error {
	if a.child == nil {
		return nil
	}
	return a.child.Stop()
}

// Child is what runs, nil = the owner has not heard of a child yet. Owner only.
func (a *Attempt) Child() Child { return a.child }

// Canceled reports whether somebody canceled the attempt. Owner only.
func (a *Attempt) Canceled() bool { return a.canceled }

// Late reports whether the attempt runs longer than its timeout. Owner only.
func (a *Attempt) Late() bool { return a.late }

// Progress is the newest that the job said of itself, nil = nothing. Owner only.
func (a *Attempt) Progress() *ipc.Progress { return a.progress }

// Deadline is when the timeout ends, as far as is known; zero = it does not. Owner only.
func (a *Attempt) Deadline() time.Time { return a.deadline }

// Note takes an update that Events.Progressed told of. It reports whether the
// timeout is over as of now, which is told once. Owner only.
func (a *Attempt) Note(u proc.Update) (late bool) {
	if p := u.Progress(); p != nil {
		a.progress = p
	}
	if !u.Deadline.IsZero() {
		a.deadline = u.Deadline
	}
	late = u.Late && !a.late
	a.late = a.late || u.Late
	return late
}

// ReleaseRetaken frees what Retake took. Owner only.
func (a *Attempt) ReleaseRetaken() { a.retaken.Release() }

// SurvivesDaemon reports whether the child goes on without the daemon. A child
// that does not exist yet does not. Owner only.
func (a *Attempt) SurvivesDaemon() bool {
	return a.child != nil && a.child.Supervised() && (a.Spec.SurviveRestart || a.Spec.KillMode.Never())
}

// detach takes a direct child and its locks out of the hands of the attempt's
// goroutine, for the next image of this program. False: the child is supervised,
// or has ended, and then its end is told as always. Owner only.
func (a *Attempt) detach(keep func(*output.Keeper) error) (h proc.Inherited, files []*os.File, locks *Locks, ok bool) {
	d, is := a.child.(interface {
		Detach(func(*output.Keeper) error) (proc.Inherited, []*os.File, bool)
	})
	if !is {
		return h, nil, nil, false
	}
	// A detached child's Done is never closed, so the goroutine does not come to
	// free the locks any more.
	h, files, ok = d.Detach(keep)
	return h, files, a.locks, ok
}
