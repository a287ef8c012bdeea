package store

import (
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
