package daemon

import "golang.org/x/sys/unix"

// mkfifo makes a pipe with a name.
func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }
