package lockfile

import (
	"fmt"
	"os"
	"strings"
)

// lookInKernel is kernelHolder, and reports whether its 0 means that the lock is
// free: without /proc/locks it means nothing.
func lookInKernel(f *os.File) (pid int, known bool) {
	if _, err := os.Stat("/proc/locks"); err != nil {
		return 0, false
	}
	return kernelHolder(f), true
}

// Command is the command line of a process, "" where it cannot be read.
func Command(pid int) string {
	if pid <= 0 {
		return ""
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	return strings.Join(strings.Split(strings.TrimRight(string(text), "\x00"), "\x00"), " ")
}
