package proc

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// newTrees tries a cgroup, if it may, and then the subreaper. A cgroup that can be
// made may still refuse the child: RestrictNamespaces=yes of systemd makes
// clone3(2) with a cgroup fail with ENOSYS.
func (host) newTrees(name string, cgroup bool) []Tree {
	var list []Tree
	if cgroup {
		if c, err := newCgroup(name); err == nil {
			list = append(list, c)
		}
	}
	return append(list, &subreaperTree{})
}

// cgroupTree is a cgroup v2 of the job's own: no process leaves it, and
// cgroup.kill reaches all of them at once (0.1 to 0.4 ms).
type cgroupTree struct {
	dir string
	fd  *os.File
}

// maxProcesses bounds the processes and threads of a job that has a cgroup: about what
// systemd gives a service by default (TasksMax=15% of 32,768).
const maxProcesses = "4915"

// newCgroup makes the job's cgroup below the one that this process is in. Without
// a writable hierarchy (no cgroup v2, not delegated, read-only) it fails.
func newCgroup(name string) (*cgroupTree, error) {
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
	// Where the controller is on, a fork bomb is the job's alone.
	if _, err := os.Stat(filepath.Join(dir, "pids.max")); err == nil {
		_ = os.WriteFile(filepath.Join(dir, "pids.max"), []byte(maxProcesses), 0)
	}
	fd, err := os.Open(dir)
	if err != nil {
		_ = os.Remove(dir)
		return nil, err
	}
	return &cgroupTree{dir: dir, fd: fd}, nil
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

func (c *cgroupTree) prepareAttr(a *syscall.ProcAttr) {
	a.Sys.UseCgroupFD, a.Sys.CgroupFD = true, int(c.fd.Fd())
}

func (c *cgroupTree) adopt(int) {}

func (c *cgroupTree) path() string { return c.dir }

func (c *cgroupTree) signal(s syscall.Signal) {
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
func (c *cgroupTree) empty() bool {
	text, err := os.ReadFile(filepath.Join(c.dir, "cgroup.events"))
	return err != nil || strings.Contains(string(text), "populated 0")
}

// close removes the cgroup if it is empty; what was left behind keeps it.
func (c *cgroupTree) close() {
	_ = c.fd.Close()
	_ = os.Remove(c.dir)
}

// killTree is for a cgroup whose supervisor is gone.
func (host) killTree(dir string) (empty bool) {
	if dir == "" {
		return true
	}
	c := &cgroupTree{dir: dir}
	if !c.empty() {
		c.signal(syscall.SIGKILL)
		return c.empty()
	}
	_ = os.Remove(dir)
	return true
}

// sweepTrees removes the cgroups of earlier jobs. rmdir(2) refuses those that
// still have processes.
func (host) sweepTrees() {
	dir, err := ownCgroup()
	if err != nil {
		return
	}
	left, _ := filepath.Glob(filepath.Join(dir, "dispatchd-*"))
	for _, group := range left {
		_ = os.Remove(group)
	}
}

// subreaperTree is the tree by descent: as a subreaper (prctl(2)) this process
// inherits every process that a parent of the job's leaves behind, however it
// detached.
type subreaperTree struct{}

func (t *subreaperTree) prepareAttr(*syscall.ProcAttr) {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

func (t *subreaperTree) adopt(pid int) { go reapOrphans(pid) }

func (t *subreaperTree) path() string { return "" }

func (t *subreaperTree) empty() bool { return len(descendants(os.Getpid())) == 0 }

// signal stops every process before it kills, for what forks faster than we
// look: a stopped process has no more children.
func (t *subreaperTree) signal(s syscall.Signal) {
	if s != syscall.SIGKILL {
		for _, pid := range descendants(os.Getpid()) {
			_ = unix.Kill(pid, s)
		}
		return
	}
	stopped := map[int]bool{}
	for {
		found := 0
		for _, pid := range descendants(os.Getpid()) {
			if !stopped[pid] {
				stopped[pid] = true
				found++
				_ = unix.Kill(pid, syscall.SIGSTOP)
			}
		}
		if found == 0 || len(stopped) > 100_000 {
			break
		}
	}
	for pid := range stopped {
		_ = unix.Kill(pid, syscall.SIGKILL)
	}
}

func (t *subreaperTree) close() {}

// descendants lists the live processes below one, zombies left out.
func descendants(root int) []int {
	children := map[int][]int{}
	dead := map[int]bool{}
	eachProcess(func(pid int, f []string) {
		parent, _ := strconv.Atoi(f[statParent])
		children[parent] = append(children[parent], pid)
		dead[pid] = isZombie(f)
	})
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

// reapOrphans waits for the dead that this process inherited, as init would, but
// never for the job's own process: its Child does that. It runs until the
// process ends, which has no other job.
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
