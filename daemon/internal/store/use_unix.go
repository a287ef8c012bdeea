package store

import (
	"os"
	"syscall"
)

// diskUse is what a file takes of the disk, holes not counted.
func diskUse(fi os.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return fi.Size()
}
