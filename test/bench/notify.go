package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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

// spent is what a whole process took.
type spent struct{ cpu, wall float64 }

// spend runs a program to its end.
func spend(ctx context.Context, program string, args ...string) (spent, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return spent{}, fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	return spent{cpu: float64(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()), wall: float64(wall)}, nil
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

// samples are the processes of one round.
type samples struct{ cpu, wall []float64 }

// take adds a process.
func (s *samples) take(p spent, err error) error {
	s.cpu, s.wall = append(s.cpu, p.cpu), append(s.wall, p.wall)
	return err
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
