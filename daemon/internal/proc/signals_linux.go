package proc

import (
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lastSignal is the highest signal number: 64, and 127 on MIPS.
const lastSignal = 127

// kernelAction is struct sigaction of rt_sigaction(2), which x/sys does not have:
// its words differ between processors, and it is no longer than this. All zero, it
// asks for the default.
type kernelAction [8]uintptr

// handler is SIG_DFL, SIG_IGN or an address. MIPS has the flags before it.
func (a *kernelAction) handler() uintptr {
	if strings.HasPrefix(runtime.GOARCH, "mips") {
		return a[1]
	}
	return a[0]
}

// signalSetSize is the kernel's sizeof(sigset_t).
func signalSetSize() uintptr {
	if strings.HasPrefix(runtime.GOARCH, "mips") {
		return 16
	}
	return 8
}

func (host) ignoredSignals() (list []syscall.Signal) {
	const ignored = 1 // SIG_IGN
	for s := syscall.Signal(1); s <= lastSignal; s++ {
		var a kernelAction
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), 0, uintptr(unsafe.Pointer(&a)), signalSetSize(), 0, 0)
		if errno == unix.EINVAL {
			break // beyond the last
		}
		if errno == 0 && a.handler() == ignored {
			list = append(list, s)
		}
	}
	return list
}

func (host) defaultSignal(s syscall.Signal) {
	var a kernelAction
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&a)), 0, signalSetSize(), 0, 0)
}

func (host) unblockSignals() (restore func()) {
	var none, before unix.Sigset_t
	if unix.PthreadSigmask(unix.SIG_SETMASK, &none, &before) != nil || before == none {
		return func() {}
	}
	return func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }
}
