package shim

import (
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path of a socket, without the final NUL (unix(7)).
const maxPath = 107

// withAddress calls fn with the address of a socket. A path that is too long for an
// address is named by a descriptor of its directory.
func withAddress(path string, fn func(*unix.SockaddrUnix) error) error {
	if len(path) <= maxPath {
		return fn(&unix.SockaddrUnix{Name: path})
	}
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	return fn(&unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(dir) + "/" + filepath.Base(path)})
}
