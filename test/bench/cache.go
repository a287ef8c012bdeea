package main

import (
	"context"
	"errors"
	"time"

	"dispatchd/ipc"
)

// stock is a cache of a kilobyte, as a GUI's page reads it.
const stock = `survive_restart = false
script = "printf '[\"'; head -c 1000 /dev/zero | tr '\\0' x; printf '\"]'"
[cache]
`

// measureCache times reads of a cache's data on a kept connection, and those of
// the health between them.
func measureCache(ctx context.Context, l *lab) ([]figure, error) {
	b, err := l.openBox(ctx, "", map[string]string{"stock": stock})
	if err != nil {
		return nil, err
	}
	defer b.close()
	n, err := b.client.Notify(ctx, ipc.NotifyRequest{Dispatcher: "stock"})
	if err != nil {
		return nil, err
	}
	if job, err := b.client.Await(ctx, n.ID); err != nil || job.State != ipc.Succeeded {
		return nil, errors.Join(err, errors.New("the refresh is "+string(job.State)))
	}
	conn, err := dial(b.socket)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	var all series
	for range 3 * l.rounds {
		this, floor, err := conn.byTurns("/v1/caches/stock", "/v1/health", l.scaled(1000))
		if err != nil {
			return nil, err
		}
		all.add(this, floor)
	}
	return []figure{compare("cached read of 1 kB, p50", all, micros, target{"<=", 1.5})}, nil
}

// byTurns gives the median times of n reads of one path and n of another, in
// nanoseconds. They take turns, so that the machine's moods are the same.
func (l *line) byTurns(path, other string, n int) (this, that float64, err error) {
	took := [2][]float64{}
	for range n {
		for i, p := range []string{path, other} {
			req := []byte("GET " + p + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
			start := time.Now()
			if _, err := l.ask(req); err != nil {
				return 0, 0, err
			}
			took[i] = append(took[i], float64(time.Since(start)))
		}
	}
	return median(took[0]), median(took[1]), nil
}
