package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// sync makes the data durable.
func (f diskFile) sync() error { return f.Sync() }

// allocate gives the file its size only: ZFS writes anew whatever was allocated.
func (f diskFile) allocate(size int64) error { return f.Truncate(size) }

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
