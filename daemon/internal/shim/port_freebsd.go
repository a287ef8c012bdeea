package shim

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path of a socket, without the final NUL (unix(4)).
const maxPath = 103

// withAddress calls fn with the address of a socket.
func withAddress(path string, fn func(*unix.SockaddrUnix) error) error {
	if len(path) > maxPath {
		return fmt.Errorf("path of %d bytes: a socket's has at most %d; choose a shorter --root", len(path), maxPath)
	}
	return fn(&unix.SockaddrUnix{Name: path})
}

// dup2 makes a descriptor another name of a file.
func dup2(from, to int) error { return unix.Dup2(from, to) }

// retitle does nothing: the kernel keeps a copy of the command line.
func retitle(string, string) {}

// OwnProgram is the file that this process executes, or the one that has taken its
// place.
func OwnProgram() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}
