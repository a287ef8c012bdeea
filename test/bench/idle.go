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
	files := map[string]string{}
	for i := range 20 {
		files[fmt.Sprintf("job%d", i)] = hold
	}
	b, err := l.openBox(ctx, "", files)
	if err != nil {
		return nil, err
	}
	defer b.close()
	fresh, err := l.watch(ctx, b)
	if err != nil {
		return nil, err
	}
	conn, err := dial(b.socket)
	if err != nil {
		return nil, err
	}
	for i := range l.scaled(200) {
		if _, err := conn.ask(request(fmt.Sprintf("job%d", i%20), "")); err != nil {
			return nil, err
		}
	}
	conn.close()
	used, err := l.watch(ctx, b)
	if err != nil {
		return nil, err
	}
	// One a minute is allowed: half a one in the usual 30 s, so one is not.
	most := float64(l.rest) / float64(time.Minute)
	during := " in " + l.rest.String()
	return []figure{
		plain("wake-ups"+during+", fresh", []float64{fresh.woken}, count, target{"<=", most}),
		plain("PSS, fresh", []float64{fresh.pss}, mebi, target{"<=", 12 << 20}),
		plain("wake-ups"+during+", after 200 jobs", []float64{used.woken}, count, target{"<=", most}),
		plain("PSS, after 200 jobs", []float64{used.pss}, mebi, target{}),
	}, nil
}

// watched is what an idle daemon did and has.
type watched struct{ woken, pss float64 }

// watch lets the daemon come to rest and looks at it for a while.
func (l *lab) watch(ctx context.Context, b *box) (w watched, err error) {
	calm := quiet
	if l.rest < time.Second { // nobody looks at the figures
		calm = l.rest
	}
	if err := pause(ctx, calm); err != nil {
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

// pause waits, or ends with ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
