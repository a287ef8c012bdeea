package lockfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelHolder finds the process that holds the flock on f's file: the pid in
// /proc/locks is who took it, which may be dead and the lock inherited; then
// /proc/PID/fdinfo tells who has it.
func kernelHolder(f *os.File) int {
	want := inode(f)
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(locks)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != want {
			continue
		}
		pid, _ := strconv.Atoi(fields[4])
		if _, err := os.Stat("/proc/" + fields[4]); err == nil && pid > 0 {
			return pid
		}
		return inherited(want)
	}
	return 0
}

// inherited looks through all processes for one that holds the lock.
func inherited(want string) int {
	return among("/proc/[0-9]*/fdinfo/*", want)
}

// holds reports whether a process has the lock on f's file.
func holds(f *os.File, pid int) bool {
	return pid > 0 && among(fmt.Sprintf("/proc/%d/fdinfo/*", pid), inode(f)) == pid
}

// among gives the first process that holds the lock, of those whose descriptors
// a pattern names.
func among(pattern, want string) int {
	infos, _ := filepath.Glob(pattern)
	for _, path := range infos {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), want+" ") || !strings.Contains(string(text), "FLOCK") {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
		return pid
	}
	return 0
}

// inode names f's file as /proc does.
func inode(f *os.File) string {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return "none"
	}
	return fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
}
