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

func (host) newTrees(string, bool) []Tree { return []Tree{&reaperTree{}} }

// reaperTree is the tree below a process reaper: the kernel knows its descendants.
type reaperTree struct{ job int }

func (t *reaperTree) prepareAttr(*syscall.ProcAttr) { _ = procctl(reapAcquire, nil) }

func (t *reaperTree) adopt(pid int) { t.job = pid }

func (t *reaperTree) path() string { return "" }

func (t *reaperTree) signal(s syscall.Signal) {
	k := reaperKill{sig: int32(s), flags: 0}
	_ = procctl(reapKill, unsafe.Pointer(&k))
}

// empty asks the kernel for all descendants, and waits for the dead that this
// process inherited on the way. The job's own is waited for by its Child.
func (t *reaperTree) empty() bool {
	list := make([]reaperPid, 4096)
	q := reaperPids{count: uint32(len(list)), pids: &list[0]}
	if procctl(reapPids, unsafe.Pointer(&q)) != nil {
		return true
	}
	alive := false
	for _, p := range list {
		switch {
		case p.flags&pidValid == 0 || int(p.pid) == t.job:
		case p.flags&pidZombie != 0:
			_, _ = unix.Wait4(int(p.pid), nil, unix.WNOHANG, nil)
		default:
			alive = true
		}
	}
	return !alive
}

func (t *reaperTree) close() {}

func (host) sweepTrees() {}

func (host) killTree(string) {}
