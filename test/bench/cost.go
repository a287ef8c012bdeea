package main

import (
	"context"
	"errors"
)

// measureCost looks at the processor time of supervisors. The kernel adds it to
// the daemon's children once they have ended, with that of their jobs, from
// which /bin/true's is taken away.
func measureCost(ctx context.Context, l *lab) ([]figure, error) {
	b, err := l.openInstalled(ctx, "max_outstanding = 0\n", map[string]string{"truth": plainTruth})
	if err != nil {
		return nil, err
	}
	defer b.close()
	var one, row, daemon series
	for range l.rounds {
		took, floor, err := l.costOf(ctx, b, l.scaled(200), 1)
		if err != nil {
			return nil, err
		}
		one.add(took.children, floor)
		if took, floor, err = l.costOf(ctx, b, 5, l.scaled(100)); err != nil {
			return nil, err
		}
		row.add(took.children, floor)
		daemon.add(took.own, floor)
	}
	return []figure{
		compare("one job's supervisor", one, millis, target{"<=", 2.5}),
		compare("100 jobs in a row, a job", row, millis, target{"<=", 0.8}),
		compare("the daemon beside them, notify to end, a job", daemon, millis, target{}),
	}, nil
}

// burnt is processor time: a daemon's own, and of those of its children that
// have ended.
type burnt struct{ own, children float64 }

// costOf runs so many rows of so many jobs, each row from rest to rest: a
// supervisor ends before the next row's first job is asked for. It gives the
// processor time a job, the children's without the job's own, and the floor.
func (l *lab) costOf(ctx context.Context, b *box, rows, long int) (took burnt, floor float64, err error) {
	n := float64(rows * long)
	before, err := processorTime(b.cmd.Process.Pid)
	if err != nil {
		return took, 0, err
	}
	for range rows {
		if _, err := b.row(ctx, long, "truth"); err != nil {
			return took, 0, err
		}
		if err := b.settled(ctx); err != nil {
			return took, 0, err
		}
	}
	after, err := processorTime(b.cmd.Process.Pid)
	if err != nil {
		return took, 0, err
	}
	const enough = 50 // jobs that together take longer than a tick of the kernel's count
	if n >= enough && after.children <= before.children {
		return took, 0, errors.New("the daemon's children took no time: it does not wait for its supervisors")
	}
	floor, job, err := l.floorCost(ctx, l.scaled(200))
	took.own = (after.own - before.own) / n
	took.children = (after.children-before.children)/n - job
	return took, floor, err
}

// floorCost is the mean processor time of an empty Go program and of /bin/true.
func (l *lab) floorCost(ctx context.Context, n int) (empty, job float64, err error) {
	for range n {
		e, err := spend(ctx, l.program("empty"))
		if err != nil {
			return 0, 0, err
		}
		j, err := spend(ctx, "/bin/true")
		if err != nil {
			return 0, 0, err
		}
		empty, job = empty+e.cpu, job+j.cpu
	}
	return empty / float64(n), job / float64(n), nil
}
