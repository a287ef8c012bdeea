package proc

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// host is FreeBSD, of which the sources were read and nothing could be run.
//
// What it lacks: a process that left its session, and whose supervisor was
// killed, is not found by its environment. The name that killall(1) looks at is
// that of the executed file, and does not change.
type host struct{}

// pidType is P_PID of wait6(2).
const pidType = 0

func (host) exitDescriptor(int) int { return -1 }

func (host) isDead(pid int) bool { return wait6(pid, syscall.WNOHANG) }

func (host) waitDead(pid int) { wait6(pid, 0) }

// wait6 reports whether a child is dead, and leaves it to be waited for; without
// WNOHANG it waits for that.
func wait6(pid, flags int) bool {
	for {
		var status int32
		dead, _, errno := syscall.Syscall6(syscall.SYS_WAIT6, pidType, uintptr(pid),
			uintptr(unsafe.Pointer(&status)), uintptr(syscall.WEXITED|syscall.WNOWAIT|flags), 0, 0)
		if errno != syscall.EINTR {
			return errno != 0 || dead != 0
		}
	}
}

// bootID is nothing here: the run directory is emptied at boot, and a start
// time does not come again.
func (host) bootID() string { return "" }

func (host) closeInherited() {
	list, _ := filepath.Glob("/dev/fd/*")
	for _, path := range list {
		if fd, err := strconv.Atoi(filepath.Base(path)); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

func (host) mayChangeUser() bool { return os.Geteuid() == 0 }

func (host) setName(string) {}

func (host) findByEnv(string, string) []int { return nil }
