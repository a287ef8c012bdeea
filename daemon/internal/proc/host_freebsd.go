// These calls take a 64-bit id in one register, which amd64, arm64 and riscv64 have.

//go:build amd64 || arm64 || riscv64

package proc

import (
	"encoding/binary"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// host is FreeBSD, of which the sources were read and nothing could be run.
//
// The name that killall(1) looks at is that of the executed file, and does not
// change.
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

// closeRange is close_range(2), and closeOnExec its flag that sets FD_CLOEXEC, which
// x/sys does not have.
const (
	closeRange  = 575
	closeOnExec = 1 << 2
)

// closeInherited does not rely on /dev/fd, which shows 0 to 2 where fdescfs is not
// mounted, as on pfSense. Where the kernel has no flag for it (before FreeBSD 14) each
// descriptor is looked at, until as many as are open were found.
func (host) closeInherited() {
	if _, _, errno := unix.RawSyscall(closeRange, 3, uintptr(^uint32(0)), closeOnExec); errno == 0 {
		return
	}
	open := openDescriptors()
	for fd := 0; fd < maxDescriptors && open > 0; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil {
			continue
		}
		open--
		if fd > 2 && flags&unix.FD_CLOEXEC == 0 {
			unix.CloseOnExec(fd)
		}
	}
}

// openDescriptors counts the open ones by kern.proc.nfds, which older kernels do not
// have: then there may be any number.
func openDescriptors() int {
	b, err := unix.SysctlRaw("kern.proc.nfds", os.Getpid())
	if err != nil || len(b) < 4 {
		return maxDescriptors
	}
	return int(binary.NativeEndian.Uint32(b))
}

// maxDescriptors bounds the descriptors that are looked at, at 0.1 µs each.
const maxDescriptors = 1 << 17

func (host) groups(c *Credential) []uint32 { return mainFirst(c) }

func (host) mayChangeUser() bool { return os.Geteuid() == 0 }

// defaultOOM does nothing: protect(1) is not inherited unless that is asked for.
func (host) defaultOOM() {}

// outOfMemory is not known: the kernel tells the console alone.
func (host) outOfMemory(Identity, string) (bool, string) { return false, "" }

func (host) setName(string) {}
