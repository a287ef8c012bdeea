package peer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Look says what the kernel tells of a process in /proc.
func Look(pid int) Process {
	p := Process{PID: pid}
	name, fields := stat(pid)
	const startField = 19
	if len(fields) <= startField {
		return p
	}
	p.Name, p.State = name, fields[0][0]
	up := uptime()
	if up == 0 {
		return p
	}
	boot := time.Now().Add(-up)
	if ticks, err := strconv.ParseInt(fields[startField], 10, 64); err == nil {
		p.Started = boot.Add(time.Duration(ticks) * 10 * time.Millisecond) // USER_HZ is 100 everywhere
	}
	if ran := lastRan(pid); ran > 0 {
		p.LastRan = boot.Add(ran)
	}
	return p
}

// Name is the name of a process's program, "" = not known. Look reads a file of each
// of its threads, too.
func Name(pid int) string {
	name, _ := stat(pid)
	return name
}

// stat gives the name of a process's program, which stands in parentheses and may
// hold any character, and the fields behind it (proc_pid_stat(5)).
func stat(pid int) (name string, fields []string) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", nil
	}
	start, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if start < 0 || end < start {
		return "", nil
	}
	return printable(text[start+1 : end]), strings.Fields(string(text[end+1:]))
}

// printable keeps a program's name from driving a terminal: it may be a stranger's.
func printable(name []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, string(name))
}

// uptime is how long the machine runs, 0 = not known.
func uptime() time.Duration {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

// lastRan is when, since boot, a thread of the process last had a processor: the
// scheduler's exec_start, in milliseconds. 0 = the kernel does not tell: it has no
// CONFIG_SCHED_DEBUG, or the process is another user's.
func lastRan(pid int) time.Duration {
	var last float64
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/sched", pid))
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		_, rest, found := strings.Cut(string(text), "se.exec_start")
		if !found {
			continue
		}
		line, _, _ := strings.Cut(rest, "\n")
		_, value, _ := strings.Cut(line, ":")
		if ms, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
			last = max(last, ms)
		}
	}
	return time.Duration(last * float64(time.Millisecond))
}

// listenerOf finds the process that has a listening socket open, 0 = none that
// this process may look into. Of several it prefers one that is not the service
// manager.
func listenerOf(socket string) int {
	inode := listeningInode(socket)
	if inode == "" {
		return 0
	}
	want := "socket:[" + inode + "]"
	holder := 0
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range processes {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || holder > 1 || !hasOpen(dir, want) {
			continue
		}
		holder = pid
	}
	return holder
}

// hasOpen reports whether a process has a file open that /proc shows so.
func hasOpen(dir, want string) bool {
	files, _ := os.ReadDir(dir + "/fd")
	for _, f := range files {
		if target, err := os.Readlink(dir + "/fd/" + f.Name()); err == nil && target == want {
			return true
		}
	}
	return false
}

// listeningInode finds a listening socket in /proc/net/unix by its path.
func listeningInode(socket string) string {
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return ""
	}
	const accepts = "00010000" // __SO_ACCEPTCON, the flags of a socket that listens
	for line := range strings.Lines(string(text)) {
		// Num RefCount Protocol Flags Type St Inode Path
		fields := strings.Fields(line)
		if len(fields) >= 8 && fields[3] == accepts && strings.HasSuffix(strings.TrimSuffix(line, "\n"), " "+socket) {
			return fields[6]
		}
	}
	return ""
}
