package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// sync makes the data durable. The size was allocated before, so that the
// metadata need not follow.
func (f diskFile) sync() error { return unix.Fdatasync(int(f.Fd())) }

// allocate reserves the file up to size, as zeros. Where the file system
// cannot, it only gets that size, and a full disk shows when it is written.
func (f diskFile) allocate(size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return f.Truncate(size)
	}
	return err
}

// Volatile reports whether the state directory is in memory.
func (d *Dir) Volatile() bool {
	var st unix.Statfs_t
	if unix.Statfs(d.path, &st) != nil {
		return false
	}
	return int64(st.Type) == unix.TMPFS_MAGIC || int64(st.Type) == unix.RAMFS_MAGIC
}

// roomAt asks statfs(2). Root may also write what is set aside for it (f_bfree).
func roomAt(path string) (Room, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Room{}, err
	}
	left := st.Bavail
	if os.Geteuid() == 0 {
		left = st.Bfree
	}
	block := int64(st.Bsize) // 32 bits wide on arm
	r := Room{Bytes: int64(left) * block, Size: int64(st.Blocks) * block, Inodes: -1}
	if st.Files > 0 {
		r.Inodes = int64(st.Ffree)
	}
	return r, nil
}
