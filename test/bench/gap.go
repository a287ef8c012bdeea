package main

import (
	"context"
	"fmt"
)

// measureGap looks at how long nothing runs between two jobs of a row.
func measureGap(ctx context.Context, l *lab) ([]figure, error) {
	if l.c != "" {
		return []figure{{name: "end to start", note: l.c}}, nil
	}
	def, err := l.gaps(ctx, "max_outstanding = 0\n", "")
	if err != nil {
		return nil, err
	}
	direct, err := l.gaps(ctx, lax, "survive_restart = false\n")
	return []figure{
		compare("the defaults, p50", def, micros, target{"<=", 3}),
		compare("direct, relaxed, p50", direct, micros, target{"<=", 2}),
	}, err
}

// gaps compares rows of one dispatcher's jobs with spawn loops, in turn.
func (l *lab) gaps(ctx context.Context, settings, keys string) (s series, err error) {
	b, left, err := l.openStamps(ctx, settings, keys)
	if err != nil {
		return s, err
	}
	defer b.close()
	n := max(3, l.scaled(100))
	for range 3 * l.rounds {
		if _, err := l.spawn(ctx, n, left.binary, left.file); err != nil {
			return s, err
		}
		floor, err := left.gap(n)
		if err != nil {
			return s, err
		}
		if _, err := b.row(ctx, n, "stamp"); err != nil {
			return s, err
		}
		this, err := left.gap(n)
		if err != nil {
			return s, err
		}
		s.add(this, floor)
	}
	return s, nil
}

// gap is the median time between the jobs of a row of n.
func (s stamps) gap(n int) (float64, error) {
	list, err := s.take()
	if err != nil {
		return 0, err
	}
	if len(list) != n {
		return 0, fmt.Errorf("%d of %d jobs left a stamp", len(list), n)
	}
	gaps := make([]float64, n-1)
	for i := range gaps {
		gaps[i] = float64(list[i+1].First - list[i].Last)
	}
	return median(gaps), nil
}
