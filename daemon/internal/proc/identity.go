package proc

import (
	"context"
	"os"
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
func IdentityOf(pid int) Identity { return IdentityIn(BootID(), pid) }

// IdentityIn is IdentityOf for a caller that knows the boot.
func IdentityIn(boot string, pid int) Identity {
	return Identity{PID: pid, Start: host{}.startTime(pid), Boot: boot}
}

// Alive reports whether that very process runs. In doubt it does not.
func (i Identity) Alive() bool {
	return i.PID > 0 && i.Start != 0 && i.Boot == BootID() && i.Start == host{}.startTime(i.PID)
}

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
		i.waitGone(ctx, time.Now().Add(grace))
	}
	send(unix.SIGKILL)
	i.waitGone(ctx, time.Now().Add(time.Minute))
}

// WaitExit waits until the process exits. It never signals it: kill_mode none.
func (i Identity) WaitExit() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for i.Alive() {
		<-ticker.C
	}
}

// waitGone waits until the process is gone, the time is over, or ctx is done.
func (i Identity) waitGone(ctx context.Context, until time.Time) {
	ticker := time.NewTicker(sweepPoll)
	defer ticker.Stop()
	for i.Alive() && time.Now().Before(until) {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
