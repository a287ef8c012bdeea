package proc

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// exitDescriptor is a pidfd(2): since Linux 5.3, and not where a sandbox or an
// emulator refuses the call.
func (host) exitDescriptor(pid int) int {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return -1
	}
	return fd
}

func (host) isDead(pid int) bool { return waitid(pid, unix.WNOHANG) }

func (host) waitDead(pid int) { waitid(pid, 0) }

// waitid reports whether a child is dead; without WNOHANG it waits for that. A
// child that is not there any more is dead too.
func waitid(pid, flags int) bool {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|flags, nil)
		if !errors.Is(err, unix.EINTR) {
			return err != nil || info.Signo != 0
		}
	}
}

// deadChild names a dead child without waiting for it; false where there is none.
func deadChild() (int, bool) {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err != nil || info.Signo == 0 {
		return 0, false
	}
	// si_pid is the first word of a union that is aligned to a pointer, and x/sys
	// does not name it.
	at := max(12, 2*unsafe.Sizeof(uintptr(0)))
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), at))), true
}
