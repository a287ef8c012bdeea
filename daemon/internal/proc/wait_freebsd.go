package proc

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pidType is P_PID of wait6(2).
const pidType = 0

// waitDead closes dead when a child is dead and leaves it to be waited for, so
// that its process group id stays ours until the group is dealt with.
func waitDead(pid int, dead chan<- struct{}) {
	defer close(dead)
	for {
		var status int32
		_, _, errno := syscall.Syscall6(syscall.SYS_WAIT6, pidType, uintptr(pid),
			uintptr(unsafe.Pointer(&status)), syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if errno != syscall.EINTR {
			return
		}
	}
}

// groupAlive reports whether a group has processes left. The dead leader
// counts too, so that a stop takes its whole grace here.
func groupAlive(pgid int) bool { return unix.Kill(-pgid, 0) == nil }

// Places in struct kinfo_proc of 64-bit FreeBSD (sys/user.h).
const (
	kinfoSize  = 1088
	kinfoPid   = 72
	kinfoStart = 336 // struct timeval
	kinfoStat  = 388 // char
	statZombie = 5
)

// startTime is when a process started, in microseconds; 0 = no such one.
func startTime(pid int) uint64 {
	b, err := unix.SysctlRaw("kern.proc.pid", pid)
	if err != nil || len(b) < kinfoSize || binary.NativeEndian.Uint32(b) != kinfoSize ||
		int(binary.NativeEndian.Uint32(b[kinfoPid:])) != pid || b[kinfoStat] == statZombie {
		return 0
	}
	return binary.NativeEndian.Uint64(b[kinfoStart:])*1e6 + binary.NativeEndian.Uint64(b[kinfoStart+8:])
}

// Uptime is the time since boot.
func Uptime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// bootID is nothing here: the run directory is emptied at boot, and a start
// time does not come again.
func bootID() string { return "" }

// killSession does not know the members of a session here.
func killSession(Identity) {}

// FindByEnv is not available here.
func FindByEnv(string, string) []int { return nil }

// CloseInherited keeps descriptors that the daemon was born with from its
// children.
func CloseInherited() {
	list, _ := filepath.Glob("/dev/fd/*")
	for _, path := range list {
		if fd, err := strconv.Atoi(filepath.Base(path)); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// MayChangeUser reports whether children can run as other users.
func MayChangeUser() bool { return os.Geteuid() == 0 }
