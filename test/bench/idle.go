package main

import (
	"context"
	"fmt"
	"time"
)

// quiet is how long a daemon may still have to do with what came before.
const quiet = 8 * time.Second

// measureIdle watches a daemon that nobody asks for anything.
func measureIdle(ctx context.Context, l *lab) ([]figure, error) {
	names, files := []string{}, map[string]string{}
	for i := range 20 {
		names = append(names, fmt.Sprintf("job%d", i))
		files[names[i]] = plainTruth
	}
	floor, err := l.serveAt(ctx, "http", "idle.sock")
	if err != nil {
		return nil, err
	}
	defer floor.stop()
	b, err := l.openBox(ctx, "", files)
	if err != nil {
		return nil, err
	}
	defer b.close()
	fresh, err := l.watch(ctx, b)
	if err != nil {
		return nil, err
	}
	last, err := b.fill(ctx, 30, names...)
	if err != nil {
		return nil, err
	}
	if err := b.succeeded(ctx, last...); err != nil {
		return nil, err
	}
	b.client.Close() // an idle daemon has no connection
	used, err := l.watch(ctx, b)
	if err != nil {
		return nil, err
	}
	library, err := memory(floor.cmd.Process.Pid, "Pss")
	if err != nil {
		return nil, err
	}
	var start, later series
	start.add(fresh.pss, library)
	later.add(used.pss, library)
	// One a minute is allowed: half a one in the usual 30 s, so one is not.
	most := float64(l.rest) / float64(time.Minute)
	during := " in " + l.rest.String()
	return []figure{
		plain("wake-ups"+during+", fresh", []float64{fresh.woken}, count, target{"<=", most}),
		plain("PSS, fresh", []float64{fresh.pss}, mebi, target{"<=", 9 << 20}),
		plain("wake-ups"+during+", after 30 jobs", []float64{used.woken}, count, target{"<=", most}),
		plain("PSS, after 30 jobs", []float64{used.pss}, mebi, target{"<=", 12 << 20}),
		compare("PSS, fresh, against a server of net/http alone", start, mebi, target{}),
		compare("the same, after 30 jobs", later, mebi, target{}),
	}, nil
}

// watched is what an idle daemon did and has.
type watched struct{ woken, pss float64 }

// watch lets the daemon come to rest and looks at it for a while.
func (l *lab) watch(ctx context.Context, b *box) (w watched, err error) {
	if err := pause(ctx, l.calm()); err != nil {
		return w, err
	}
	pid := b.cmd.Process.Pid
	before, err := wakeups(pid)
	if err != nil {
		return w, err
	}
	if err := pause(ctx, l.rest); err != nil {
		return w, err
	}
	after, err := wakeups(pid)
	if err != nil {
		return w, err
	}
	w.woken = after - before
	w.pss, err = memory(pid, "Pss")
	return w, err
}

// calm is quiet, or next to nothing where nobody looks at the figures.
func (l *lab) calm() time.Duration { return min(quiet, l.rest) }

// pause waits, or ends with ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
