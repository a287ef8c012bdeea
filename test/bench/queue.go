package main

import (
	"context"
	"errors"
	"os/exec"
	"path"
	"time"

	"dispatchd/ipc"
)

// truth is a dispatcher of the shortest job there is.
const truth = "command = [\"/bin/true\"]\nmax_queue = 0\nqueue_timeout = 0\nsurvive_restart = false\n"

// measureQueue times many short jobs, one after another, with all files in
// memory as they are synced to no disk here, and with the directories where a
// system has them. There it depends on the file system what a new file costs:
// ext4 is slow for some seconds after it has removed many.
func measureQueue(ctx context.Context, l *lab) ([]figure, error) {
	n := l.scaled(2000)
	var all, ahead, installed series
	for range l.rounds {
		floor, err := execLoop(ctx, n)
		if err != nil {
			return nil, err
		}
		whole, run, err := through(ctx, l.openInMemory, n)
		if err != nil {
			return nil, err
		}
		onDisk, _, err := through(ctx, l.openInstalled, n)
		if err != nil {
			return nil, err
		}
		per := func(d time.Duration) float64 { return float64(n) / d.Seconds() }
		all.add(per(whole), per(floor))
		ahead.add(per(run), per(floor))
		installed.add(per(onDisk), per(floor))
	}
	return []figure{
		compare("from the first notify to the last end", all, rate, target{">=", 0.85}),
		compare("queued before, until the last end", ahead, rate, target{}),
		compare("as the first, state on the disk", installed, rate, target{}),
	}, nil
}

// through does it with a new daemon.
func through(ctx context.Context, open func(context.Context, string, map[string]string) (*box, error), n int) (whole, run time.Duration, err error) {
	b, err := open(ctx, "durability = \"relaxed\"\nmax_outstanding = 0\n", map[string]string{"truth": truth})
	if err != nil {
		return 0, 0, err
	}
	defer b.close()
	return b.through(ctx, n)
}

// execLoop is the floor.
func execLoop(ctx context.Context, n int) (time.Duration, error) {
	start := time.Now()
	for range n {
		if err := exec.CommandContext(ctx, "/bin/true").Run(); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// through sends n jobs through the queue twice: as they come, and queued
// before the first starts.
func (b *box) through(ctx context.Context, n int) (whole, run time.Duration, err error) {
	start := time.Now()
	last, err := b.fill(ctx, n)
	if err != nil {
		return 0, 0, err
	}
	if err := b.succeeded(ctx, last); err != nil {
		return 0, 0, err
	}
	whole = time.Since(start)
	if _, err := b.client.Pause(ctx, "truth", true); err != nil {
		return 0, 0, err
	}
	if last, err = b.fill(ctx, n); err != nil {
		return 0, 0, err
	}
	start = time.Now()
	if _, err := b.client.Pause(ctx, "truth", false); err != nil {
		return 0, 0, err
	}
	err = b.succeeded(ctx, last)
	return whole, time.Since(start), err
}

// fill asks for n jobs and gives the last one's id.
func (b *box) fill(ctx context.Context, n int) (last string, err error) {
	conn, err := dial(b.socket)
	if err != nil {
		return "", err
	}
	defer conn.close()
	req := request("truth", "")
	for range n {
		if last, err = conn.ask(req); err != nil {
			return "", err
		}
	}
	return path.Base(last), ctx.Err()
}

// succeeded waits for a job's end.
func (b *box) succeeded(ctx context.Context, id string) error {
	job, err := b.client.Await(ctx, id)
	if err == nil && job.State != ipc.Succeeded {
		err = errors.New("the last job is " + string(job.State))
	}
	return err
}
