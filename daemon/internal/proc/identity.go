package proc

import (
	"context"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Identity names a process for longer than its pid does: pids come again.
type Identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // ticks since boot
	Boot  string `json:"boot"`
}

// IdentityOf is the identity of a running process.
func IdentityOf(pid int) Identity { return Identity{PID: pid, Start: startTime(pid), Boot: bootID()} }

// Clock tells when a child started, where its reading is the kernel's own. The
// zero value asks the kernel until the first child has shown that; nil asks
// it always.
type Clock struct {
	trust atomic.Int32 // 1: it says what startTime does, -1: it does not, 0: nobody has looked yet
}

// started is startTime of a child that was forked between two readings of
// startClock. Where they are the same, the kernel need not be asked.
func (c *Clock) started(before, after uint64, pid int) uint64 {
	if c == nil || before != after || before == 0 || c.trust.Load() < 0 {
		return startTime(pid)
	}
	if c.trust.Load() > 0 {
		return before
	}
	asked := startTime(pid)
	switch asked {
	case before:
		c.trust.Store(1)
	case 0: // dead already
	default:
		c.trust.Store(-1)
	}
	return asked
}

// Alive reports whether that very process runs. In doubt it does not.
func (i Identity) Alive() bool {
	return i.PID > 0 && i.Start != 0 && i.Boot == bootID() && i.Start == startTime(i.PID)
}

// BootID is a word for this boot of the machine, "" where there is none.
func BootID() string { return bootID() }

// Signal sends a signal to that very process, if it still runs.
func (i Identity) Signal(s os.Signal) {
	if i.PID <= 1 {
		return
	}
	p, err := os.FindProcess(i.PID)
	if err != nil {
		return
	}
	defer func() { _ = p.Release() }()
	// A handle opened before the look cannot mean a later process of that pid.
	if i.Alive() {
		_ = p.Signal(s)
	}
}

// KillGroup ends a process that is no child of ours and its group: TERM, after
// the grace KILL, at once with a grace of 0. It returns when the process is
// gone or ctx is done.
func (i Identity) KillGroup(ctx context.Context, grace time.Duration) {
	if !i.Alive() {
		return
	}
	group, err := unix.Getpgid(i.PID)
	if err != nil || group == unix.Getpgrp() {
		group = 0
	}
	send := func(s unix.Signal) {
		_ = unix.Kill(i.PID, s)
		if group > 1 {
			_ = unix.Kill(-group, s)
		}
	}
	if grace > 0 {
		send(unix.SIGTERM)
		i.gone(ctx, time.Now().Add(grace))
	}
	send(unix.SIGKILL)
	i.gone(ctx, time.Now().Add(time.Minute))
}

// outlast waits until the process is gone, which nobody hurries.
func (i Identity) outlast() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i.Alive() {
		<-tick.C
	}
}

// gone waits until the process is gone, the time is over, or ctx is done.
func (i Identity) gone(ctx context.Context, until time.Time) {
	tick := time.NewTicker(sweepStep)
	defer tick.Stop()
	for i.Alive() && time.Now().Before(until) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Output runs a short command of our own, such as a package database's, and
// gives what it prints. It is killed with ctx and after 10 seconds.
func Output(ctx context.Context, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=" + os.TempDir()}
	cmd.WaitDelay = time.Second
	return cmd.Output()
}
