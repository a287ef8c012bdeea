package proc

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// waitDead closes dead when a child is dead and leaves it to be waited for, so
// that its process group id stays ours until the group is dealt with. Where the
// kernel gives a descriptor for the child, no thread is blocked meanwhile.
func waitDead(pid int, dead chan<- struct{}) {
	f := watched(pid)
	if f == nil {
		waitid(pid, 0)
	}
	close(dead)
	runtime.Gosched() // who waits goes on first
	_ = f.Close()
}

// watched waits for a child's end by a descriptor, which it gives back to be
// closed; nil where that is not possible.
func watched(pid int) *os.File {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	conn, err := f.SyscallConn()
	if err != nil || conn.Read(func(uintptr) bool { return waitid(pid, unix.WNOHANG) }) != nil {
		_ = f.Close()
		return nil
	}
	return f
}

// waitid looks whether a child is dead, or waits for it without WNOHANG.
func waitid(pid, how int) bool {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|how, nil)
		if !errors.Is(err, unix.EINTR) {
			return err != nil || info.Signo != 0
		}
	}
}

// groupAlive reports whether a group has a process that is not a zombie.
func groupAlive(pgid int) bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return unix.Kill(-pgid, 0) == nil
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		f := statFields(pid)
		if len(f) > 2 && f[0] != "Z" && f[0] != "X" && f[2] == strconv.Itoa(pgid) {
			return true
		}
	}
	return false
}

// statFields are the fields of /proc/PID/stat behind the command's name: state,
// parent, group, session, … the start time is the 20th.
func statFields(pid int) []string {
	text := kernelText("/proc/" + strconv.Itoa(pid) + "/stat")
	i := strings.LastIndexByte(text, ')')
	if i < 0 {
		return nil
	}
	return strings.Fields(text[i+1:])
}

// kernelText reads a short file that the kernel makes, "" where there is none.
// It takes three calls where os.ReadFile takes ten, once for each job.
func kernelText(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer func() { _ = unix.Close(fd) }()
	var buf [1024]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// startTime is when a process started, in ticks since boot; 0 = no such one.
func startTime(pid int) uint64 {
	f := statFields(pid)
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return 0
	}
	n, _ := strconv.ParseUint(f[19], 10, 64)
	return n
}

// Uptime is the time since boot, without the time asleep.
func Uptime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// bootID tells one boot of the machine from another.
func bootID() string { return strings.TrimSpace(kernelText("/proc/sys/kernel/random/boot_id")) }

// killSession kills what is left of a session whose leader is dead or dying.
// Its number is not given to a new process while any member lives; if another
// process leads one of that number by now, no member was left.
func killSession(leader Identity) {
	if now := startTime(leader.PID); now != 0 && now != leader.Start {
		return
	}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if f := statFields(pid); len(f) > 3 && f[3] == strconv.Itoa(leader.PID) {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// FindByEnv lists processes whose environment at their start had key=value.
func FindByEnv(key, value string) []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err == nil && strings.Contains("\x00"+string(env), "\x00"+key+"="+value+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// CloseInherited keeps descriptors that the daemon was born with from its
// children.
func CloseInherited() { _ = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) }

// MayChangeUser reports whether children can run as other users.
func MayChangeUser() bool {
	var caps [2]unix.CapUserData
	if unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &caps[0]) != nil {
		return os.Geteuid() == 0
	}
	const both = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	return caps[0].Effective&both == both
}
