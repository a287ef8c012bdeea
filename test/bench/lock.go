package main

import (
	"context"
	"fmt"
)

// measureLock times short jobs of three dispatchers that want one named lock,
// so that at most one of them runs.
func measureLock(ctx context.Context, l *lab) ([]figure, error) {
	names, files := []string{}, map[string]string{}
	for i := range 3 {
		names = append(names, fmt.Sprintf("truth%d", i))
		files[names[i]] = truth + "[locks]\nexclusive = [\"shared\"]\n"
	}
	b, err := l.openInstalled(ctx, lax, files)
	if err != nil {
		return nil, err
	}
	defer b.close()
	n := l.scaled(300)
	var s series
	for range 3 * l.rounds {
		floor, err := execLoop(ctx, n)
		if err != nil {
			return nil, err
		}
		row, err := b.row(ctx, n, names...)
		if err != nil {
			return nil, err
		}
		s.add(perSecond(n, row), perSecond(n, floor))
	}
	return []figure{compare("queued before, until the last end", s, rate, target{">=", 0.75})}, nil
}
