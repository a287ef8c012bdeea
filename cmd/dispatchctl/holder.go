package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/lockfile"
)

// holder is the job or process that holds up a job.
type holder struct {
	Job        string    `json:"job,omitempty"`
	Dispatcher string    `json:"dispatcher,omitempty"`
	PID        int       `json:"pid,omitempty"`
	Command    string    `json:"command,omitempty"` // where readable
	State      ipc.State `json:"state,omitempty"`   // of the job
	Since      time.Time `json:"since,omitzero"`
}

// holderOf finds the holder of what a job waits for, nil = none.
func (a *app) holderOf(ctx context.Context, job ipc.Job) (*holder, error) {
	w := job.WaitingFor
	switch {
	case w == nil:
		return nil, nil
	case w.Job != "":
		return a.holderJob(ctx, w.Job)
	case w.Reason == ipc.WaitLock && w.Lock != "journal":
		return a.externalHolder(ctx, w.Lock, w.PID)
	}
	return nil, nil
}

// holderJob is a job that has a lock or the turn. It may have ended meanwhile.
func (a *app) holderJob(ctx context.Context, id string) (*holder, error) {
	job, err := a.api().Job(ctx, id)
	if p, ok := errors.AsType[*ipc.Error](err); ok && p.Kind == ipc.KindJobUnknown {
		return &holder{Job: id}, nil
	}
	if err != nil {
		return nil, err
	}
	h := &holder{Job: job.ID, Dispatcher: job.Dispatcher, State: job.State, Since: job.CreatedAt}
	if job.StartedAt != nil {
		h.Since = *job.StartedAt
	}
	return h, nil
}

// externalHolder describes a process that holds a lock and is no job. Its command
// comes from /proc or from the lock's file, where dispatchctl lock wrote it. Since
// when it holds the lock comes from the file, else from the daemon, which knows
// when it first found the lock held.
func (a *app) externalHolder(ctx context.Context, lock string, pid int) (*holder, error) {
	h := &holder{PID: pid, Command: lockfile.Command(pid)}
	dir, name := a.lockPlace(lock)
	if text, held := lockfile.Look(dir, name); held && (pid == 0 || text.PID == pid) {
		h.PID = text.PID
		if text.Start > 0 {
			h.Since = time.Unix(text.Start, 0)
		}
		if text.Command != "" { // what dispatchctl lock runs says more than its own command line
			h.Command = text.Command
		}
	}
	if !h.Since.IsZero() {
		return h, nil
	}
	locks, err := a.api().Locks(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range locks {
		for _, known := range l.Holders {
			if l.Name == lock && known.Job == "" && (known.PID == h.PID || known.PID == 0) {
				h.Since = known.Since
			}
		}
	}
	return h, nil
}

// lockPlace is the directory and the name of a lock's file.
func (a *app) lockPlace(lock string) (dir, name string) {
	p := ipc.Paths{Run: filepath.Dir(ipc.FindSocket(a.socket))}
	if own, ok := strings.CutPrefix(lock, "dispatcher:"); ok {
		return p.DispatcherLocks(), own
	}
	return p.Locks(), lock
}

// words names the holder.
func (h *holder) words() string {
	var text string
	switch {
	case h.Job != "" && h.Dispatcher != "":
		text = fmt.Sprintf("job %s of %s (%s)", h.Job, h.Dispatcher, h.State)
	case h.Job != "":
		text = "job " + h.Job
	case h.PID == 0:
		text = "a process that the system does not name"
	case h.Command != "":
		text = fmt.Sprintf("process %d (%s)", h.PID, h.Command)
	default:
		text = fmt.Sprintf("process %d", h.PID)
	}
	return text
}
