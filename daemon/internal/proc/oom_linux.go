package proc

import (
	"bytes"
	"errors"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// outOfMemory reports whether the kernel killed a process for want of memory: by its
// cgroup's count, where it had one of its own, else by the kernel's log, which only
// some may read. It is asked of a child that was ended by a SIGKILL that is not ours.
func (host) outOfMemory(child Identity, tree string) (killed bool, limit string) {
	if tree != "" {
		if n := oomKills(readProcFile(filepath.Join(tree, "memory.events"))); n > 0 {
			return true, strings.TrimSpace(readProcFile(filepath.Join(tree, "memory.max")))
		}
	}
	fd, err := open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return false, ""
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, 8192) // one record each time
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EPIPE): // it was overwritten: the next one follows
		case err != nil || n <= 0:
			return killed, ""
		default:
			killed = killed || isOOMRecord(buf[:n], child)
		}
	}
}

// oomKills reads oom_kill of memory.events (cgroup v2).
func oomKills(events string) int {
	for line := range strings.Lines(events) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == "oom_kill" {
			n, _ := strconv.Atoi(value)
			return n
		}
	}
	return 0
}

// isOOMRecord reports whether a record of /dev/kmsg says that a process was killed for
// want of memory, after it started: "6,1,5000000,-;Out of memory: Killed process 7 (sh)".
func isOOMRecord(record []byte, child Identity) bool {
	head, text, _ := bytes.Cut(record, []byte{';'})
	if !bytes.Contains(text, []byte("ut of memory: Killed process "+strconv.Itoa(child.PID)+" (")) {
		return false
	}
	fields := bytes.Split(head, []byte{','})
	if len(fields) < 3 {
		return false
	}
	at, err := strconv.ParseUint(string(fields[2]), 10, 64) // in microseconds
	const ticks = 10_000
	return err == nil && at/ticks+1 >= child.Start
}
