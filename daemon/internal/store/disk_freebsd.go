package store

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sync makes the data durable.
func (f diskFile) sync() error { return f.Sync() }

// allocate gives the file its size only: ZFS writes anew whatever was allocated.
func (f diskFile) allocate(size int64) error { return f.Truncate(size) }

// fspacectl(2) of FreeBSD 14, which x/sys does not have.
const (
	sysFspacectl = 580
	spaceDealloc = 1
)

// punch gives back a range of a file's disk space, from FreeBSD 14 on.
func punch(f *os.File, from, to int64) error {
	r := [2]int64{from, to - from}
	_, _, errno := syscall.Syscall6(sysFspacectl, f.Fd(), spaceDealloc, uintptr(unsafe.Pointer(&r)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Volatile reports whether the state directory is in memory.
func (d *Dir) Volatile() bool {
	var st unix.Statfs_t
	if unix.Statfs(d.path, &st) != nil {
		return false
	}
	return unix.ByteSliceToString(st.Fstypename[:]) == "tmpfs"
}
