package proc

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// readProcFile reads a short file that the kernel makes, "" where there is none.
// It takes three calls where os.ReadFile takes ten, twice for each job.
func readProcFile(path string) string {
	fd, err := open(path, unix.O_RDONLY)
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

// Fields of /proc/PID/stat behind the command's name, which may itself have
// blanks and parentheses. proc_pid_stat(5) counts from 1, and the state is its 3.
const (
	statState   = 0
	statParent  = 1
	statGroup   = 2
	statSession = 3
	statStart   = 19
)

// statFields are the fields of /proc/PID/stat from the state on, nil where there
// is no such process.
func statFields(pid int) []string {
	text := readProcFile("/proc/" + strconv.Itoa(pid) + "/stat")
	i := strings.LastIndexByte(text, ')')
	if i < 0 {
		return nil
	}
	f := strings.Fields(text[i+1:])
	if len(f) <= statStart {
		return nil
	}
	return f
}

// isZombie reports whether a process of these fields is dead and not waited for.
func isZombie(stat []string) bool { return stat[statState] == "Z" || stat[statState] == "X" }

// eachProcess calls fn for every process that /proc has, but for ourselves. It
// returns false where there is no /proc.
func eachProcess(fn func(pid int, stat []string)) bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	self := os.Getpid()
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == self {
			continue
		}
		if f := statFields(pid); f != nil {
			fn(pid, f)
		}
	}
	return true
}

// startTime is in ticks of 1/100 s since boot.
func (host) startTime(pid int) uint64 {
	f := statFields(pid)
	if f == nil || isZombie(f) {
		return 0
	}
	n, _ := strconv.ParseUint(f[statStart], 10, 64)
	return n
}

// startNow is in the kernel's ticks of user space, which are 1/100 s on every
// processor that Go knows, by the clock that counts the time asleep (since Linux 5.5).
func (host) startNow() uint64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return uint64(ts.Nano() / 1e7)
}

func (host) startUnit() time.Duration { return 10 * time.Millisecond }

func (h host) startedAt(pid int, recorded uint64) bool { return h.startTime(pid) == recorded }

func (host) groupAlive(pgid int) bool {
	group, alive := strconv.Itoa(pgid), false
	ok := eachProcess(func(_ int, f []string) { alive = alive || f[statGroup] == group && !isZombie(f) })
	return alive || !ok && unix.Kill(-pgid, 0) == nil
}

// bootID is random, and made anew at each boot.
func (host) bootID() string {
	return strings.TrimSpace(readProcFile("/proc/sys/kernel/random/boot_id"))
}

func (host) processes() (list []ProcessInfo) {
	eachProcess(func(pid int, f []string) {
		if isZombie(f) {
			return
		}
		number := func(at int) int { n, _ := strconv.Atoi(f[at]); return n }
		p := ProcessInfo{PID: pid, Parent: number(statParent), Group: number(statGroup), Session: number(statSession), State: f[statState]}
		p.Start, _ = strconv.ParseUint(f[statStart], 10, 64)
		list = append(list, p)
	})
	return list
}

func (host) commandLine(pid int) (argv, env []string, uid int, ok bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	var st unix.Stat_t
	line, err := os.ReadFile(dir + "/cmdline")
	if err != nil || unix.Stat(dir, &st) != nil {
		return nil, nil, 0, false
	}
	variables, err := os.ReadFile(dir + "/environ")
	if err != nil {
		return nil, nil, 0, false
	}
	return splitWords(line), splitWords(variables), int(st.Uid), true
}
