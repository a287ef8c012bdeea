package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// hold is a dispatcher that takes any number of jobs; it is paused, so that
// nothing runs beside the measurement.
const hold = "command = [\"/bin/true\"]\nmax_queue = 0\nqueue_timeout = 0\n"

// openHold is a daemon with a paused dispatcher.
func (l *lab) openHold(ctx context.Context, durability string) (*box, error) {
	b, err := l.openBox(ctx, fmt.Sprintf("durability = %q\nmax_outstanding = 0\n", durability), map[string]string{"hold": hold})
	if err != nil {
		return nil, err
	}
	if _, err := b.client.Pause(ctx, "hold", true); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// measureNotify times the tiny client as a whole process.
func measureNotify(ctx context.Context, l *lab) ([]figure, error) {
	var cpu, wall series
	floor, err := l.serveAt(ctx, "server", "floor.sock")
	if err != nil {
		return nil, err
	}
	defer floor.stop()
	b, err := l.openHold(ctx, "relaxed")
	if err != nil {
		return nil, err
	}
	defer b.close()
	text := string(request("hold", ""))
	for range l.rounds {
		var these, floors samples
		for range l.scaled(200) {
			if err := floors.take(spend(ctx, l.program("client"), floor.socket, text)); err != nil {
				return nil, err
			}
			if err := these.take(spend(ctx, l.program("dispatch-notify"), "--socket", b.socket, "hold")); err != nil {
				return nil, err
			}
		}
		cpu.add(median(these.cpu), median(floors.cpu))
		wall.add(median(these.wall), median(floors.wall))
	}
	figures := []figure{
		compare("processor time", cpu, millis, target{"<=", 1.25}),
		compare("wall time", wall, millis, target{"<=", 1.25}),
	}
	durable, err := measureDurable(ctx, l)
	return append(figures, durable...), err
}

// measureDurable times the client of a daemon that syncs, beside the disk.
func measureDurable(ctx context.Context, l *lab) ([]figure, error) {
	b, err := l.openHold(ctx, "disk")
	if err != nil {
		return nil, err
	}
	defer b.close()
	f, err := os.Create(filepath.Join(b.root, "synced"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if err := reserve(f, 1<<20); err != nil {
		return nil, err
	}
	record := make([]byte, 512)
	var wall series
	for range l.rounds {
		var these samples
		var disk []float64
		for i := range l.scaled(100) {
			start := time.Now()
			if _, err := f.WriteAt(record, int64(i*len(record))); err != nil {
				return nil, err
			}
			if err := sync(f); err != nil {
				return nil, err
			}
			disk = append(disk, float64(time.Since(start)))
			if err := these.take(spend(ctx, l.program("dispatch-notify"), "--socket", b.socket, "hold")); err != nil {
				return nil, err
			}
		}
		wall.add(median(these.wall), median(disk))
	}
	f1 := compare("durable, against fdatasync", wall, millis, target{})
	return []figure{f1}, nil
}
