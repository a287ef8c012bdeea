package proc

import (
	"os"

	"golang.org/x/sys/unix"
)

// host is Linux.
type host struct{}

func (host) closeInherited() { _ = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) }

func (host) groups(c *Credential) []uint32 { return c.Groups }

// mayChangeUser asks for the two capabilities that setgroups(2), setgid(2) and
// setuid(2) need: a container's root may lack them.
func (host) mayChangeUser() bool {
	var caps [2]unix.CapUserData
	if unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &caps[0]) != nil {
		return os.Geteuid() == 0
	}
	const both = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	return caps[0].Effective&both == both
}

// defaultOOM raises a negative oom_score_adj to 0 (proc_pid_oom_score_adj(5)), which
// needs no right; one that makes this process the first to go is somebody's wish.
func (host) defaultOOM() {
	const path = "/proc/self/oom_score_adj"
	if text := readProcFile(path); len(text) > 0 && text[0] == '-' {
		_ = os.WriteFile(path, []byte("0"), 0)
	}
}

// setName sets the name of the first thread, which killall and pgrep -x look at.
// PR_SET_NAME of prctl(2) sets that of the calling one.
func (host) setName(name string) { _ = os.WriteFile("/proc/self/comm", []byte(name), 0) }
