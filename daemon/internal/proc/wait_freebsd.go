package proc

import (
	"path/filepath"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pidType is P_PID of wait6(2).
const pidType = 0

// waitDead returns when a child is dead and leaves it to be waited for, so
// that its process group id stays ours until the group is dealt with.
func waitDead(pid int) {
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

// startTime is not known here yet, so no process is ever taken for another
// daemon's.
func startTime(int) uint64 { return 0 }

// bootID is not known here.
func bootID() string { return "" }

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
