// These calls take a 64-bit id in one register, which amd64, arm64 and riscv64 have.

//go:build amd64 || arm64 || riscv64

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
type reaperTree struct {
	job  int
	pids []reaperPid // scratch space: it is looked at every killPoll
}

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
	if t.pids == nil {
		t.pids = make([]reaperPid, 4096)
	}
	clear(t.pids)
	q := reaperPids{count: uint32(len(t.pids)), pids: &t.pids[0]}
	if procctl(reapPids, unsafe.Pointer(&q)) != nil {
		return true
	}
	alive := false
	for _, p := range t.pids {
		if p.flags&pidValid != 0 && int(p.pid) != t.job {
			alive = !goneDescendant(int(p.pid), p.flags&pidZombie != 0) || alive
		}
	}
	return !alive
}

// goneDescendant reports whether a descendant is dead, and waits for one that is this
// process's. Kernels before FreeBSD 14 do not mark the dead: a dead one that is our
// child is waited for, and one of another's is a zombie by its state.
func goneDescendant(pid int, zombie bool) bool {
	if dead, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err == nil && dead == pid || zombie {
		return true
	}
	list, ok := kinfos("pid", pid)
	return ok && len(list) == 1 && list[0].isZombie()
}

func (t *reaperTree) close() {}

func (host) sweepTrees() {}

func (host) killTree(string) bool { return true }
