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

// kernelName is f's file as /proc/locks and fdinfo write it (device and inode),
// "" where fstat fails.
func kernelName(f *os.File) string {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return ""
	}
	return fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
}

// kernelHolder finds the process that holds the flock on f's file, 0 = none is
// found. /proc/locks has the pid that took the lock. That process may have died
// or closed the file while a child that inherited it still holds the lock: then
// /proc/PID/fdinfo of all processes is searched for it.
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
		if has, seen := hasLock(pid, f); has || !seen {
			return pid
		}
		return findInheritor(name)
	}
	return 0
}

// findInheritor searches all processes for one that has the lock open.
func findInheritor(name string) int {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range processes {
		if has, err := fdinfoHasLock(dir, name); has && err == nil {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			return pid
		}
	}
	return 0
}

// fdinfoHasLock reports whether the process with this directory in /proc has the
// lock open. The error is that its descriptors cannot be read.
func fdinfoHasLock(dir, name string) (bool, error) {
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

// hasLock reports whether a process has the lock open, and whether its
// descriptors could be read at all: those of another user's process cannot.
func hasLock(pid int, f *os.File) (has, seen bool) {
	if pid <= 0 {
		return false, true
	}
	has, err := fdinfoHasLock(fmt.Sprintf("/proc/%d", pid), kernelName(f))
	return has, !errors.Is(err, fs.ErrPermission)
}

// orphanHolder finds a process that holds a lock on a file which was removed from
// this path, 0 = none is found. Most machines have few locks, and only where one of
// this file system is on a file that has no name in the directory are the
// descriptors of all processes looked at. shared: one that shares it is none.
func orphanHolder(path string, shared bool) int {
	if !nameless(filepath.Dir(path)) {
		return 0
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range processes {
		fds, err := os.ReadDir(dir + "/fd")
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if to, err := os.Readlink(dir + "/fd/" + fd.Name()); err != nil || to != path+" (deleted)" {
				continue
			}
			info, err := os.ReadFile(dir + "/fdinfo/" + fd.Name())
			if err == nil && strings.Contains(string(info), "FLOCK") && (!shared || strings.Contains(string(info), " WRITE ")) {
				pid, _ := strconv.Atoi(filepath.Base(dir))
				return pid
			}
		}
	}
	return 0
}

// nameless reports whether there is a lock on this directory's file system whose
// file is not in the directory.
func nameless(dir string) bool {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return false
	}
	device := fmt.Sprintf("%02x:%02x:", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return false
	}
	inodes := map[string]bool{}
	for line := range strings.Lines(string(locks)) {
		if fields := strings.Fields(line); len(fields) >= 6 && fields[1] == "FLOCK" {
			if inode, here := strings.CutPrefix(fields[5], device); here {
				inodes[inode] = true
			}
		}
	}
	if len(inodes) == 0 {
		return false
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		var file unix.Stat_t
		if unix.Lstat(filepath.Join(dir, e.Name()), &file) == nil {
			delete(inodes, strconv.FormatUint(file.Ino, 10))
		}
	}
	return len(inodes) > 0
}
