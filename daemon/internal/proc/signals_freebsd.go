package proc

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lastSignal is SIGRTMAX.
const lastSignal = 126

// kernelAction is struct sigaction of sigaction(2). All zero, it asks for the
// default.
type kernelAction struct {
	handler uintptr
	_       int32 // flags
	_       [4]uint32
}

func (host) ignoredSignals() (list []syscall.Signal) {
	const ignored = 1 // SIG_IGN
	for s := syscall.Signal(1); s <= lastSignal; s++ {
		var a kernelAction
		_, _, errno := unix.RawSyscall(unix.SYS_SIGACTION, uintptr(s), 0, uintptr(unsafe.Pointer(&a)))
		if errno == 0 && a.handler == ignored {
			list = append(list, s)
		}
	}
	return list
}

func (host) defaultSignal(s syscall.Signal) {
	var a kernelAction
	_, _, _ = unix.RawSyscall(unix.SYS_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&a)), 0)
}

func (host) unblockSignals() (restore func()) {
	const setMask = 3 // SIG_SETMASK
	var none, before [4]uint32
	_, _, errno := unix.RawSyscall(unix.SYS_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&none)), uintptr(unsafe.Pointer(&before)))
	if errno != 0 || before == none {
		return func() {}
	}
	return func() {
		_, _, _ = unix.RawSyscall(unix.SYS_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&before)), 0)
	}
}
