package output

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fspacectl(2) of FreeBSD 14, which x/sys does not have.
const (
	sysFspacectl = 580
	spaceDealloc = 1
	sysFpathconf = 192
	fionread     = 0x4004667f // filio.h
	pcDealloc    = 65         // _PC_DEALLOC_PRESENT: the file system gives blocks back
)

// punch gives back a range of a file's disk space, and leaves its length. Before
// FreeBSD 14 the call does not exist and the error is ENOSYS. Where a file system
// cannot (UFS), the kernel writes zeros instead and calls that success: it is asked
// first.
func punch(fd int, from, to int64) error {
	if can, _, errno := syscall.Syscall(sysFpathconf, uintptr(fd), pcDealloc, 0); errno != 0 || can != 1 {
		return syscall.ENOSYS
	}
	r := [2]int64{from, to - from}
	_, _, errno := syscall.Syscall6(sysFspacectl, uintptr(fd), spaceDealloc, uintptr(unsafe.Pointer(&r)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// widen has a pipe hold more, which this system does by itself up to 64 KiB.
func widen(int, int) bool { return false }

// waiting counts the bytes that are in a pipe.
func waiting(fd int) (int, error) { return unix.IoctlGetInt(fd, fionread) }
