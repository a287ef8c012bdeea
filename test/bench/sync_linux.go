package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// reserve makes a file of this size, so that a later sync need not write it.
func reserve(f *os.File, size int64) error { return unix.Fallocate(int(f.Fd()), 0, 0, size) }

// sync makes a file's data durable, as the journal does it.
func sync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// forget lets the system forget a file that has just been written. Written at
// once, it is in the page cache in pieces of up to 2 MiB, and since Linux 6.18
// one page fault maps a whole piece: an idle daemon had 8.7 MiB so, and 4.1 of
// the same file as a boot reads it.
func forget(f *os.File) error {
	if err := f.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
