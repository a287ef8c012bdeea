package main

import (
	"context"
	"time"
)

// plainTruth is a dispatcher as an admin writes it: nothing said but what
// bounds the queue.
const plainTruth = "command = [\"/bin/true\"]\nmax_queue = 0\nqueue_timeout = 0\n"

// measureDefault times short jobs under the defaults: each has a supervisor,
// and what is told about it is on the disk.
func measureDefault(ctx context.Context, l *lab) ([]figure, error) {
	b, err := l.openInstalled(ctx, "max_outstanding = 0\n", map[string]string{"truth": plainTruth})
	if err != nil {
		return nil, err
	}
	defer b.close()
	n := l.scaled(100)
	var queued, single series
	for range 3 * l.rounds { // short rounds: the machine changes its mind
		floor, err := execLoop(ctx, n)
		if err != nil {
			return nil, err
		}
		row, err := b.row(ctx, n, "truth")
		if err != nil {
			return nil, err
		}
		apart, err := b.singly(n, "truth")
		if err != nil {
			return nil, err
		}
		queued.add(perSecond(n, row), perSecond(n, floor))
		single.add(perSecond(n, apart), perSecond(n, floor))
	}
	return []figure{
		compare("one after another, queued before", queued, rate, target{">=", 0.45}),
		compare("each notified when the one before has ended", single, rate, target{}),
	}, nil
}

// singly runs n jobs, each asked for when the end of the one before is told.
func (b *box) singly(n int, name string) (time.Duration, error) {
	conn, err := dial(b.socket)
	if err != nil {
		return 0, err
	}
	defer conn.close()
	start := time.Now()
	for range n {
		if _, err := conn.ask(waiting(name)); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}
