package proc

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newCrowds gives the ways to follow a tree here, the better one first. A start
// that fails in the first, because a sandbox forbids it, is tried in the next.
func newCrowds(name string, byDescent bool) []crowd {
	var list []crowd
	if !byDescent {
		if c, err := newCgroup(name); err == nil {
			list = append(list, c)
		}
	}
	return append(list, &offspring{})
}

// cgroup is a cgroup v2 of the job's own: nobody leaves it, and cgroup.kill
// reaches all of it at once.
type cgroup struct {
	dir string
	fd  *os.File
}

// newCgroup makes the job's group below the one that we are in. Without a
// writable hierarchy (no cgroup v2, not delegated, read-only) it fails.
func newCgroup(name string) (*cgroup, error) {
	dir, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "dispatchd-"+name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "cgroup.kill")); err != nil { // before Linux 5.14
		_ = os.Remove(dir)
		return nil, err
	}
	fd, err := os.Open(dir)
	if err != nil {
		_ = os.Remove(dir)
		return nil, err
	}
	return &cgroup{dir: dir, fd: fd}, nil
}

// ownCgroup is the directory of our own cgroup v2.
func ownCgroup() (string, error) {
	mount, err := cgroupMount()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		// Hybrid systems list v1 hierarchies too: only the line 0:: is v2.
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return filepath.Join(mount, path), nil
		}
	}
	return "", errors.New("no cgroup v2")
}

// cgroupMount finds where cgroup v2 is mounted.
func cgroupMount() (string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if ok && strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 && fields[3] == "/" {
			return fields[4], nil
		}
	}
	return "", errors.New("no cgroup v2 is mounted")
}

func (c *cgroup) join(a *syscall.ProcAttr) {
	a.Sys.UseCgroupFD, a.Sys.CgroupFD = true, int(c.fd.Fd())
}

func (c *cgroup) started(int) {}

func (c *cgroup) place() string { return c.dir }

func (c *cgroup) signal(s syscall.Signal) {
	if s == syscall.SIGKILL {
		_ = os.WriteFile(filepath.Join(c.dir, "cgroup.kill"), []byte("1"), 0)
		return
	}
	text, _ := os.ReadFile(filepath.Join(c.dir, "cgroup.procs"))
	for word := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
			_ = unix.Kill(pid, s)
		}
	}
}

// empty reads "populated", which does not count zombies.
func (c *cgroup) empty() bool {
	text, err := os.ReadFile(filepath.Join(c.dir, "cgroup.events"))
	return err != nil || strings.Contains(string(text), "populated 0")
}

// close removes the group if nobody is in it; what was left behind keeps it.
func (c *cgroup) close() {
	_ = c.fd.Close()
	_ = os.Remove(c.dir)
}

// killCgroup kills what is left in a group whose shim is gone.
func killCgroup(dir string) {
	if dir == "" {
		return
	}
	c := &cgroup{dir: dir}
	c.signal(syscall.SIGKILL)
	_ = os.Remove(dir)
}

// SweepCgroups removes groups that earlier jobs left, those without processes.
func SweepCgroups() {
	dir, err := ownCgroup()
	if err != nil {
		return
	}
	left, _ := filepath.Glob(filepath.Join(dir, "dispatchd-*"))
	for _, group := range left {
		_ = os.Remove(group)
	}
}

// offspring is the crowd by descent: as a subreaper we inherit every process
// that a job's own parent leaves behind, however it detached.
type offspring struct{}

func (o *offspring) join(*syscall.ProcAttr) { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

func (o *offspring) started(pid int) { go reapOrphans(pid) }

func (o *offspring) place() string { return "" }

func (o *offspring) empty() bool { return len(descendants(os.Getpid())) == 0 }

// signal stops everybody before it kills, for what forks faster than we look:
// a stopped process has no more children.
func (o *offspring) signal(s syscall.Signal) {
	if s != syscall.SIGKILL {
		for _, pid := range descendants(os.Getpid()) {
			_ = unix.Kill(pid, s)
		}
		return
	}
	stopped := map[int]bool{}
	for {
		fresh := 0
		for _, pid := range descendants(os.Getpid()) {
			if !stopped[pid] {
				stopped[pid] = true
				fresh++
				_ = unix.Kill(pid, syscall.SIGSTOP)
			}
		}
		if fresh == 0 || len(stopped) > 100_000 {
			break
		}
	}
	for pid := range stopped {
		_ = unix.Kill(pid, syscall.SIGKILL)
	}
}

func (o *offspring) close() {}

// descendants lists the live processes below one, zombies left out.
func descendants(root int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	children := map[int][]int{}
	dead := map[int]bool{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		f := statFields(pid)
		if len(f) < 2 {
			continue
		}
		parent, _ := strconv.Atoi(f[1])
		children[parent] = append(children[parent], pid)
		dead[pid] = f[0] == "Z" || f[0] == "X"
	}
	var list []int
	todo := children[root]
	for len(todo) > 0 {
		pid := todo[0]
		todo = append(todo[1:], children[pid]...)
		if !dead[pid] {
			list = append(list, pid)
		}
	}
	return list
}

// reapOrphans waits for the dead that we inherited, as init would, but never
// for the job's own process: who started it does that.
func reapOrphans(job int) {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	for {
		for {
			pid, ok := deadChild()
			if !ok || pid == job {
				break
			}
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
		<-died
	}
}

// deadChild peeks at a dead child without waiting for it.
func deadChild() (int, bool) {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err != nil || info.Signo == 0 {
		return 0, false
	}
	// si_pid is the first word of a union that is aligned to a pointer, and x/sys
	// does not name it.
	at := max(12, 2*unsafe.Sizeof(uintptr(0)))
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), at))), true
}
