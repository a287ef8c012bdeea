package output

import "golang.org/x/sys/unix"

// punch gives back a range of a file's disk space, and leaves its length.
func punch(fd int, from, to int64) error {
	return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from)
}

// widen has a pipe hold more. It may not: pipe-user-pages-soft bounds a user's
// (pipe(7)).
func widen(fd, size int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, size)
	return err == nil
}

// waiting counts the bytes that are in a pipe.
func waiting(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.TIOCINQ) }
