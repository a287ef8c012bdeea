//go:build !linux

package lockfile

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// lookInKernel knows nothing: this system has no list of locks that we read.
func lookInKernel(*os.File) (pid int, known bool) { return 0, false }

// Command is the command line of a process, "" where it cannot be read.
func Command(pid int) string {
	if pid <= 0 {
		return ""
	}
	text, err := unix.SysctlRaw("kern.proc.args", pid)
	if err != nil {
		return ""
	}
	return strings.Join(strings.Split(strings.TrimRight(string(text), "\x00"), "\x00"), " ")
}
