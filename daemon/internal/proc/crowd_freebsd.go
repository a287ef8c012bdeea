package proc

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// procctl(2): commands, flags and structures of sys/procctl.h, which x/sys does
// not have. Read in its source and vetted, not run.
const (
	reapAcquire = 2
	reapPids    = 5
	reapKill    = 6

	pidValid  = 1
	pidZombie = 8
)

type reaperPid struct {
	pid   int32
	_     int32 // whose subtree it is in
	flags uint32
	_     [15]uint32
}

type reaperPids struct {
	count uint32
	_     [15]uint32
	pids  *reaperPid
}

type reaperKill struct {
	sig     int32
	flags   uint32
	subtree int32
	killed  uint32
	failed  int32
	_       [15]uint32
}

// procctl calls procctl(2) for ourselves.
func procctl(command int, data unsafe.Pointer) error {
	_, _, errno := syscall.Syscall6(unix.SYS_PROCCTL, pidType, uintptr(os.Getpid()), uintptr(command), uintptr(data), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// newCrowds gives the ways to follow a tree here.
func newCrowds(string, bool) []crowd { return []crowd{&reaper{}} }

// reaper is the crowd of a process reaper: the kernel knows its descendants.
type reaper struct{ job int }

func (r *reaper) join(*syscall.ProcAttr) { _ = procctl(reapAcquire, nil) }

func (r *reaper) started(pid int) { r.job = pid }

func (r *reaper) place() string { return "" }

func (r *reaper) signal(s syscall.Signal) {
	k := reaperKill{sig: int32(s), flags: 0}
	_ = procctl(reapKill, unsafe.Pointer(&k))
}

// empty asks the kernel for all descendants, and waits for the dead that we
// inherited on the way. The job's own process is waited for by who started it.
func (r *reaper) empty() bool {
	list := make([]reaperPid, 4096)
	q := reaperPids{count: uint32(len(list)), pids: &list[0]}
	if procctl(reapPids, unsafe.Pointer(&q)) != nil {
		return true
	}
	alive := false
	for _, p := range list {
		switch {
		case p.flags&pidValid == 0 || int(p.pid) == r.job:
		case p.flags&pidZombie != 0:
			_, _ = unix.Wait4(int(p.pid), nil, unix.WNOHANG, nil)
		default:
			alive = true
		}
	}
	return !alive
}

func (r *reaper) close() {}

// SweepCgroups is for systems that have some.
func SweepCgroups() {}

// killCgroup is for systems that have some.
func killCgroup(string) {}
