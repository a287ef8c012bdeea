//go:build linux && service

package service

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// unitGroup is the cgroup of our unit, as seen from here.
func (m *machine) unitGroup() string {
	return filepath.Join(m.Cgroup(), "system.slice/dispatchd.service")
}

// groupOf lists the processes of the cgroup of a job with kill_mode = "tree".
func (m *machine) groupOf(h *held) []int {
	m.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.unitGroup(), "dispatchd-*"))
	if err != nil || len(found) != 1 {
		m.t.Fatalf("the groups of job %s: %q, %v", h.id, found, err)
	}
	return m.members(found[0])
}

// members are the processes of a cgroup and of those below it, by their numbers
// here.
func (m *machine) members(group string) []int {
	m.t.Helper()
	var pids []int
	err := filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for word := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	return pids
}

// awaitNobody waits until all processes that are in our unit now have ended.
func (m *machine) awaitNobody() {
	m.t.Helper()
	for _, pid := range m.members(m.unitGroup()) {
		m.awaitEnd(pid)
	}
}

// awaitEnd waits for the end of a process, by its number here.
func (m *machine) awaitEnd(pid int) {
	m.t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it has ended
	}
	defer func() { _ = unix.Close(fd) }()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if err == unix.EINTR {
			continue
		}
		if n == 0 || err != nil {
			m.t.Fatalf("process %d does not end: %v", pid, err)
		}
		return
	}
}
