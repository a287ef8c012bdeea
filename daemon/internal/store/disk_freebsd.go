package store

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sync makes the data durable.
func (f diskFile) sync() error { return f.Sync() }

// allocate sets the room aside where the file system can (posix_fallocate(2): UFS).
// ZFS refuses, for it writes anew whatever was allocated: there the file gets its size
// only, and a full disk is noticed when the journal is written.
func (f diskFile) allocate(size int64) error {
	// The system call gives its error as its result.
	failed, _, errno := unix.Syscall(unix.SYS_POSIX_FALLOCATE, f.Fd(), 0, uintptr(size))
	switch result := syscall.Errno(failed); {
	case errno != 0 || result == unix.EINVAL || result == unix.EOPNOTSUPP || result == unix.ENODEV:
		return f.Truncate(size)
	case result != 0:
		return result
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

// roomAt asks statfs(2). Root may also write what is set aside for it (f_bfree).
func roomAt(path string) (Room, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Room{}, err
	}
	left := st.Bavail // below 0 where root has used what is set aside
	if os.Geteuid() == 0 {
		left = int64(st.Bfree)
	}
	r := Room{Bytes: max(0, left) * int64(st.Bsize), Size: int64(st.Blocks) * int64(st.Bsize), Inodes: -1}
	if st.Files > 0 {
		r.Inodes = st.Ffree
	}
	return r, nil
}
