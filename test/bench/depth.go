package main

import (
	"context"
	"fmt"
	"time"
)

const (
	deep    = 100_000
	shallow = 1_000
	window  = 1_000 // notifies that the cost at a depth is taken of
)

// measureDepth fills a queue and looks at what a job more costs. One round is
// one daemon, for memory that was used once is not given back at once.
func measureDepth(ctx context.Context, l *lab) ([]figure, error) {
	var cost, mean series
	var bytes, status []float64
	for range min(l.rounds, 3) {
		d, err := l.dive(ctx)
		if err != nil {
			return nil, err
		}
		bytes = append(bytes, d.bytes)
		status = append(status, d.status)
		cost.add(d.deep.mid, d.shallow.mid)
		mean.add(d.deep.mean, d.shallow.mean)
	}
	return []figure{
		plain("resident bytes a job, beyond its arguments", bytes, size, target{"<=", 1024}),
		compare("a notify at 100,000, against at 1,000, p50", cost, micros, target{"<=", 2}),
		compare("the same, mean", mean, micros, target{"<=", 2}),
		plain("status at 100,000, the slowest of 100", status, millis, target{"<=", float64(20 * time.Millisecond)}),
	}, nil
}

// dived is what one dive saw.
type dived struct {
	bytes, status float64
	shallow, deep pace
}

// pace is how long a notify takes at some depth.
type pace struct{ mid, mean float64 }

// dive fills one daemon's queue.
func (l *lab) dive(ctx context.Context) (d dived, err error) {
	b, err := l.openHold(ctx, "relaxed")
	if err != nil {
		return d, err
	}
	defer b.close()
	conn, err := dial(b.socket)
	if err != nil {
		return d, err
	}
	defer conn.close()
	n := l.scaled(window)
	if _, err = conn.queue(l.scaled(shallow)); err != nil {
		return d, err
	}
	before, err := memory(b.cmd.Process.Pid, "Rss")
	if err != nil {
		return d, err
	}
	if d.shallow, err = conn.queue(n); err != nil {
		return d, err
	}
	more := l.scaled(deep) - l.scaled(shallow) - 2*n
	if _, err = conn.queue(more); err != nil {
		return d, err
	}
	if d.deep, err = conn.queue(n); err != nil {
		return d, err
	}
	if d.status, err = b.slowestStatus(ctx); err != nil {
		return d, err
	}
	after, err := memory(b.cmd.Process.Pid, "Rss")
	d.bytes = (after-before)/float64(more+2*n) - float64(len(arguments(0)))
	return d, err
}

// arguments are those of a job: of one length, and each job's its own.
func arguments(i int) string {
	return fmt.Sprintf(`{"interface":"igb%04d","reason":"link state changed","serial":%d}`, i%10_000, 1_000_000+i)
}

// queue asks for n jobs.
func (l *line) queue(n int) (pace, error) {
	took := make([]float64, 0, n)
	var sum float64
	for i := range n {
		req := request("hold", `{"arguments":`+arguments(i)+`}`)
		start := time.Now()
		if _, err := l.ask(req); err != nil {
			return pace{}, err
		}
		took = append(took, float64(time.Since(start)))
		sum += took[i]
	}
	return pace{mid: median(took), mean: sum / float64(max(1, n))}, nil
}

// slowestStatus asks for the status often.
func (b *box) slowestStatus(ctx context.Context) (float64, error) {
	var worst float64
	for range 100 {
		start := time.Now()
		if _, err := b.client.Status(ctx); err != nil {
			return 0, err
		}
		worst = max(worst, float64(time.Since(start)))
	}
	return worst, nil
}
