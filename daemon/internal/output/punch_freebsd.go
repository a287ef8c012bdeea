package output

import (
	"os"
	"syscall"
	"unsafe"
)

// fspacectl(2) of FreeBSD 14, which x/sys does not have.
const (
	sysFspacectl = 580
	spaceDealloc = 1
)

// punch gives back a range of a file's disk space, and leaves its length. Before
// FreeBSD 14 the call does not exist and the error is ENOSYS: the output keeps
// its middle on disk until retention removes it.
func punch(f *os.File, from, to int64) error {
	r := [2]int64{from, to - from}
	_, _, errno := syscall.Syscall6(sysFspacectl, f.Fd(), spaceDealloc, uintptr(unsafe.Pointer(&r)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
