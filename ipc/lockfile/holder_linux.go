package lockfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelName is how the kernel names f's file in its lists of locks, "" where
// that cannot be told.
func kernelName(f *os.File) string {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return ""
	}
	return fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
}

// kernelHolder finds the process that holds the flock on f's file: the pid in
// /proc/locks is who took it, which may be dead, or have closed the file, and the
// lock inherited; then /proc/PID/fdinfo tells who has it.
func kernelHolder(f *os.File) int {
	name := kernelName(f)
	locks, err := os.ReadFile("/proc/locks")
	if err != nil || name == "" {
		return 0
	}
	for line := range strings.Lines(string(locks)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != name {
			continue
		}
		pid, _ := strconv.Atoi(fields[4])
		if has, seen := holds(pid, f); has || !seen {
			return pid
		}
		return inherited(name)
	}
	return 0
}

// inherited looks through all processes for one that holds the lock.
func inherited(name string) int {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range processes {
		if has, err := hasLock(dir, name); has && err == nil {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			return pid
		}
	}
	return 0
}

// hasLock reports whether the process with this directory in /proc has the
// lock open, or why that cannot be told.
func hasLock(dir, name string) (bool, error) {
	infos, err := os.ReadDir(dir + "/fdinfo")
	if err != nil {
		return false, err
	}
	for _, info := range infos {
		text, err := os.ReadFile(dir + "/fdinfo/" + info.Name())
		if err == nil && strings.Contains(string(text), name+" ") && strings.Contains(string(text), "FLOCK") {
			return true, nil
		}
	}
	return false, nil
}

// holds reports whether a process has the lock, and whether that could be seen:
// another user's descriptors cannot.
func holds(pid int, f *os.File) (has, seen bool) {
	if pid <= 0 {
		return false, true
	}
	has, err := hasLock(fmt.Sprintf("/proc/%d", pid), kernelName(f))
	return has, !errors.Is(err, fs.ErrPermission)
}
