package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

const (
	// longestPause bounds the pause of --patient before it asks a full queue again:
	// the daemon's estimate (Retry-After) may be much later than the first free
	// place.
	longestPause = 2 * time.Second
	// restartTime is how long a daemon that restarts may take to answer again.
	restartTime = 3 * time.Second
)

// askPatiently asks for a run. With --patient it asks again while the queue is
// full or the daemon restarts.
func (a *app) askPatiently(ctx context.Context, r *request, args []string) (ipc.Notified, error) {
	since, said := time.Now(), false
	if len(args) > 1 && args[1] == "-" { // it can be read but once
		raw, err := ipc.ReadArguments(args[1], a.in)
		if err != nil {
			return ipc.Notified{}, err
		}
		args = []string{args[0], string(raw)}
	}
	for {
		n, err := a.ask(ctx, r, args)
		p, typed := errors.AsType[*ipc.Error](err)
		if !r.patient || !typed || !isTransient(p, since) {
			return n, err
		}
		if !said {
			a.talk("%s; waiting", p)
			said = true
		}
		timer := time.NewTimer(min(max(time.Duration(p.RetryAfter)*time.Second, longestPause/10), longestPause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return n, err
		}
	}
}

// isTransient reports whether asking again may help.
func isTransient(p *ipc.Error, since time.Time) bool {
	switch p.Kind {
	case ipc.KindQueueFull, ipc.KindDraining, ipc.KindTooManyConnections:
		return true
	case ipc.KindUnavailable:
		return time.Since(since) < restartTime
	}
	return false
}

// execInstead replaces this process by the other command where no daemon has had
// the request: none answers, or it does not know the dispatcher. It passes on any
// other error, for then a job could be done twice. The pid file stays right, for
// the process stays the same; the other command removes it.
func (a *app) execInstead(r *request, err error) error {
	p, typed := errors.AsType[*ipc.Error](err)
	absent := typed && p.Kind == ipc.KindUnavailable && !a.api().Reached()
	unknown := typed && p.Kind == ipc.KindDispatcherUnknown
	if len(r.instead) == 0 || !absent && !unknown {
		return err
	}
	path := lookPath(r.instead[0])
	a.talk("%s; running %s instead", err, r.instead[0])
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, r.instead, os.Environ()))
}

// hold binds a job's life to this process, and gives the function that waits for
// its end.
func (a *app) hold(ctx context.Context, id string) func() (ipc.Job, error) {
	a.onInterrupt("", "job %s is canceled", id)
	a.interrupted.Job = id
	var job ipc.Job
	var err error
	over := make(chan struct{})
	go func() {
		defer close(over)
		job, err = a.api().Hold(ctx, id)
	}()
	return func() (ipc.Job, error) {
		<-over
		return job, err
	}
}

// cancelAfter cancels a job when an attempt of it has run this long. stop ends the
// watch.
func (a *app) cancelAfter(ctx context.Context, id string, limit time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		job, late := a.awaitOverrun(ctx, id, limit)
		switch {
		case late && a.mayTimeOut(ctx, job.Dispatcher):
			a.talk("job %s has run %s: canceling it", id, limit)
			_, _ = a.api().Cancel(ctx, id) // a job that has just ended is over too
		case late:
			a.talk("job %s has run %s, and goes on: %s has no timeout", id, limit, job.Dispatcher)
		}
	}()
	return func() {
		cancel()
		<-over
	}
}

// awaitOverrun waits until a job has run for this long; false when it ended
// before. It looks at a queued job again after limit: it cannot have run longer
// than that by then.
func (a *app) awaitOverrun(ctx context.Context, id string, limit time.Duration) (ipc.Job, bool) {
	for {
		left := limit
		job, err := a.api().Job(ctx, id)
		if err != nil || job.State.Final() {
			return job, false
		}
		if job.State == ipc.Running && job.StartedAt != nil {
			if left = limit - time.Since(*job.StartedAt); left <= 0 {
				return job, true
			}
		}
		waiting, cancel := context.WithTimeout(ctx, left)
		job, err = a.api().Await(waiting, id)
		cancel()
		if err == nil || ctx.Err() != nil {
			return job, false
		}
	}
}

// mayTimeOut reports whether a dispatcher lets its jobs be ended for their time.
func (a *app) mayTimeOut(ctx context.Context, name string) bool {
	d, err := a.api().Dispatcher(ctx, name)
	word, _ := d.Definition["kill_mode"].(string)
	return err == nil && !mode.KillMode(word).Never() && d.Definition["timeout"] != "0s"
}
