package shim

import (
	"fmt"

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
