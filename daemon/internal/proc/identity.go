package proc

import (
	"os"
	"time"
)

// Identity names a process for longer than its pid does: pids come again.
type Identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // since boot, in a unit of the system's own
	Boot  string `json:"boot"`
}

// IdentityOf is the identity of a running process.
func IdentityOf(pid int) Identity { return IdentityIn("", pid) }

// IdentityIn is IdentityOf for a caller that may know the boot, "" = it does not.
func IdentityIn(boot string, pid int) Identity {
	if boot == "" {
		boot = BootID()
	}
	return Identity{PID: pid, Start: host{}.startTime(pid), Boot: boot}
}

// Alive reports whether that very process runs. In doubt it does not.
func (i Identity) Alive() bool {
	return i.PID > 0 && i.Start != 0 && i.ofThisBoot() && host{}.startedAt(i.PID, i.Start)
}

// ofThisBoot reports whether the process was one of this boot, as far as boots can be
// told apart: where the system had no word for them when it was recorded, start times
// must do.
func (i Identity) ofThisBoot() bool {
	boot := BootID()
	return i.Boot == boot || i.Boot == "" || boot == ""
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

// WaitExit waits until the process exits. It never signals it: kill_mode none.
func (i Identity) WaitExit() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for i.Alive() {
		<-ticker.C
	}
}
