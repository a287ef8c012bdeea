package shim

import (
	"path/filepath"
	"strconv"
	"unsafe"

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

// dup2 makes a descriptor another name of a file.
func dup2(from, to int) error { return unix.Dup3(from, to, 0) }

// retitle puts a text of the same length over a word of the command line, where ps
// and the like read it: the words of os.Args are the process's own memory.
func retitle(word, text string) {
	if len(word) == len(text) && word != "" {
		copy(unsafe.Slice(unsafe.StringData(word), len(word)), text)
	}
}

// OwnProgram is the file that this process executes, also where its path leads to
// another one by now.
func OwnProgram() string { return "/proc/self/exe" }
