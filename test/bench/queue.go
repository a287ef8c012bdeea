package main

import (
	"context"
	"time"
)

// truth is a dispatcher of the shortest job there is, as a direct child.
const truth = "command = [\"/bin/true\"]\nmax_queue = 0\nqueue_timeout = 0\nsurvive_restart = false\n"

// lax are the settings under which nothing waits for the disk, and nothing is
// refused.
const lax = "durability = \"relaxed\"\nmax_outstanding = 0\n"

// measureQueue times many short jobs, one after another, with all files in
// memory as they are synced to no disk here, and with the directories where a
// system has them. There it depends on the file system what a new file costs:
// ext4 is slow for minutes after it has removed many.
func measureQueue(ctx context.Context, l *lab) ([]figure, error) {
	n := l.scaled(2000)
	var coming, queued, installed series
	for range l.rounds {
		floor, err := execLoop(ctx, n)
		if err != nil {
			return nil, err
		}
		whole, row, err := through(ctx, l.openInMemory, n)
		if err != nil {
			return nil, err
		}
		_, onDisk, err := through(ctx, l.openInstalled, n)
		if err != nil {
			return nil, err
		}
		coming.add(perSecond(n, whole), perSecond(n, floor))
		queued.add(perSecond(n, row), perSecond(n, floor))
		installed.add(perSecond(n, onDisk), perSecond(n, floor))
	}
	return []figure{
		compare("from the first notify to the last end", coming, rate, target{">=", 0.80}),
		compare("queued before, until the last end", queued, rate, target{">=", 0.80}),
		compare("the same, state on the disk", installed, rate, target{">=", 0.80}),
	}, nil
}

// through sends n jobs through a new daemon twice: as they come, and queued
// before the first starts.
func through(ctx context.Context, open func(context.Context, string, map[string]string) (*box, error), n int) (whole, row time.Duration, err error) {
	b, err := open(ctx, lax, map[string]string{"truth": truth})
	if err != nil {
		return 0, 0, err
	}
	defer b.close()
	start := time.Now()
	last, err := b.fill(ctx, n, "truth")
	if err != nil {
		return 0, 0, err
	}
	if err := b.succeeded(ctx, last...); err != nil {
		return 0, 0, err
	}
	whole = time.Since(start)
	row, err = b.row(ctx, n, "truth")
	return whole, row, err
}
