package main

import (
	"context"
)

// measureStart looks at how long it takes from the start of a client to the
// first instruction of the job it asks for, with nothing else to do.
func measureStart(ctx context.Context, l *lab) ([]figure, error) {
	if l.c != "" {
		return []figure{{name: "start to start", note: l.c}}, nil
	}
	direct, err := l.starts(ctx, lax, "survive_restart = false\n")
	if err != nil {
		return nil, err
	}
	def, err := l.starts(ctx, "", "")
	return []figure{
		compare("direct, relaxed, p50", direct, micros, target{"<=", 5}),
		compare("the defaults, p50", def, micros, target{"<=", 8}),
	}, err
}

// starts compares notifies with spawns, in turn. The daemon is at rest before
// each.
func (l *lab) starts(ctx context.Context, settings, keys string) (s series, err error) {
	b, left, err := l.openStamps(ctx, settings, keys)
	if err != nil {
		return s, err
	}
	defer b.close()
	for range l.rounds {
		var these, floors []float64
		for range l.scaled(100) {
			floor, err := l.startOf(ctx, left, left.binary, left.file)
			if err != nil {
				return s, err
			}
			this, err := l.startOf(ctx, left, l.program("dispatch-notify"), "--socket", b.socket, "stamp")
			if err != nil {
				return s, err
			}
			if err := b.settled(ctx); err != nil {
				return s, err
			}
			these, floors = append(these, this), append(floors, floor)
		}
		s.add(median(these), median(floors))
	}
	return s, nil
}

// startOf is how long after a program's start a job had its first instruction.
func (l *lab) startOf(ctx context.Context, left stamps, program ...string) (float64, error) {
	began, err := l.spawn(ctx, 1, program...)
	if err != nil {
		return 0, err
	}
	job, err := left.await(ctx)
	return float64(job.First - began[0]), err
}
