package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// reserve makes a file of this size, so that a later sync need not write it.
func reserve(f *os.File, size int64) error { return unix.Fallocate(int(f.Fd()), 0, 0, size) }

// sync makes a file's data durable, as the journal does it.
func sync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
