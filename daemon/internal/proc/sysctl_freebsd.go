package proc

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// kinfos asks sysctl kern.proc.WHICH for processes: pid, pgrp or sid with an id, or
// proc for all (sysctl(3), KERN_PROC). p_cansee decides what a user sees.
func kinfos(which string, id ...int) ([]kinfo, bool) {
	b, err := unix.SysctlRaw("kern.proc."+which, id...)
	if err != nil {
		return nil, false
	}
	return splitKinfo(b)
}

// kinfosAt is kinfos with the time of the boot that the start times are by: a step of
// the clock between the two questions would move one without the other.
func kinfosAt(which string, id ...int) (list []kinfo, boot time.Duration) {
	for range 10 {
		before := bootTime()
		list, _ = kinfos(which, id...)
		if boot = bootTime(); boot == before {
			break
		}
	}
	return list, boot
}

// bootTime is when the machine was booted, by the clock that can be set: it jumps
// with that.
func bootTime() time.Duration {
	b, err := unix.SysctlRaw("kern.boottime")
	if err != nil || len(b) < 16 {
		return 0
	}
	return time.Duration(timeval(b)) * time.Microsecond
}

// one finds a living process, and its start.
func one(pid int) (p ProcessInfo, wall uint64, ok bool) {
	list, boot := kinfosAt("pid", pid)
	if len(list) != 1 || list[0].number(kinfoPid) != pid || list[0].isZombie() {
		return p, 0, false
	}
	return list[0].info(boot), uint64(list[0].start().Microseconds()), true
}

// startTime is in microseconds since the boot.
func (host) startTime(pid int) uint64 {
	p, _, _ := one(pid)
	return p.Start
}

// startNow is by CLOCK_UPTIME, which the kernel notes a start by.
func (host) startNow() uint64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_UPTIME, &ts) != nil {
		return 0
	}
	return uint64(ts.Nano() / 1e3)
}

func (host) startUnit() time.Duration { return time.Microsecond }

func (host) startedAt(pid int, recorded uint64) bool {
	p, wall, ok := one(pid)
	return ok && sameStart(recorded, p.Start, wall)
}

func (host) groupAlive(pgid int) bool {
	list, ok := kinfos("pgrp", pgid)
	if !ok {
		return unix.Kill(-pgid, 0) == nil
	}
	return groupLives(list)
}

func (host) processes() (all []ProcessInfo) {
	list, boot := kinfosAt("proc")
	for _, k := range list {
		if p := k.info(boot); !k.isZombie() && p.PID != os.Getpid() {
			all = append(all, p)
		}
	}
	return all
}

func (host) commandLine(pid int) (argv, env []string, uid int, ok bool) {
	list, _ := kinfos("pid", pid)
	words, err := unix.SysctlRaw("kern.proc.args", pid)
	if err != nil || len(list) != 1 {
		return nil, nil, 0, false
	}
	variables, err := unix.SysctlRaw("kern.proc.env", pid)
	if err != nil {
		return nil, nil, 0, false
	}
	return splitWords(words), splitWords(variables), list[0].number(kinfoUser), true
}

// bootID is kern.boot_id, random and made anew at each boot, where the kernel has it;
// "" elsewhere: the run directory is emptied at boot, and a start time does not come
// again.
func (host) bootID() string {
	b, err := unix.SysctlRaw("kern.boot_id")
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%x", b)
}
