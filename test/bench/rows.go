package main

import (
	"context"
	"errors"
	"os/exec"
	"path"
	"time"

	"dispatchd/ipc"
)

// execLoop is the floor of whatever runs n short jobs one after another: the
// time that os/exec takes for them.
func execLoop(ctx context.Context, n int) (time.Duration, error) {
	start := time.Now()
	for range n {
		if err := exec.CommandContext(ctx, "/bin/true").Run(); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// perSecond is a rate.
func perSecond(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }

// fill asks for n jobs, of the dispatchers in turn, and gives the last id of
// each.
func (b *box) fill(ctx context.Context, n int, names ...string) (last []string, err error) {
	conn, err := dial(b.socket)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	last = make([]string, len(names))
	for i := range max(n, len(names)) {
		turn := i % len(names)
		location, err := conn.ask(request(names[turn], ""))
		if err != nil {
			return nil, err
		}
		last[turn] = path.Base(location)
	}
	return last, ctx.Err()
}

// succeeded waits for the ends of jobs.
func (b *box) succeeded(ctx context.Context, ids ...string) error {
	for _, id := range ids {
		job, err := b.client.Await(ctx, id)
		if err == nil && job.State != ipc.Succeeded {
			err = errors.New("job " + id + " is " + string(job.State))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pause pauses dispatchers, or lets them go on.
func (b *box) pause(ctx context.Context, paused bool, names ...string) error {
	for _, name := range names {
		if _, err := b.client.Pause(ctx, name, paused); err != nil {
			return err
		}
	}
	return nil
}

// row runs n jobs that are queued before the first starts, and gives the time
// from there to the last one's end.
func (b *box) row(ctx context.Context, n int, names ...string) (time.Duration, error) {
	if err := b.pause(ctx, true, names...); err != nil {
		return 0, err
	}
	last, err := b.fill(ctx, n, names...)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := b.pause(ctx, false, names...); err != nil {
		return 0, err
	}
	err = b.succeeded(ctx, last...)
	return time.Since(start), err
}

// settled waits until no child of the daemon is left: a job's end is told while
// its supervisor still goes.
func (b *box) settled(ctx context.Context) error {
	for len(children(b.cmd.Process.Pid)) > 0 {
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
