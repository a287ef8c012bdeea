package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// spent is what a whole process took.
type spent struct{ cpu, wall float64 }

// spend runs a program to its end.
func spend(ctx context.Context, program string, args ...string) (spent, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "DISPATCHD_SERVER_USER=" + nobody}
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return spent{}, fmt.Errorf("%s: %w", filepath.Base(program), err)
	}
	return spent{cpu: float64(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()), wall: float64(wall)}, nil
}

// samples are the processes of one round.
type samples struct{ cpu, wall []float64 }

// take adds a process.
func (s *samples) take(p spent, err error) error {
	s.cpu, s.wall = append(s.cpu, p.cpu), append(s.wall, p.wall)
	return err
}
