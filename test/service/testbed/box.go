//go:build linux

package testbed

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// noticePath is where a machine's init says that it has booted.
const noticePath = "/run/testbed/notify"

// systemd is the init of a machine that nobody asks another of.
const systemd = "/lib/systemd/systemd"

// Box is a running machine.
type Box struct {
	pid     int
	dir     string // what it is prepared in
	cgroup  string
	console string
	stop    func()
	gone    chan struct{} // closed when all its processes have ended
	once    sync.Once
}

// Missing says why there can be no machine here, or only none with systemd, ""
// if there can.
func Missing() string {
	switch {
	case os.Geteuid() != 0:
		return "a machine of its own needs root"
	case !hasFile("/proc/filesystems", "\toverlay\n"):
		return "a machine of its own needs overlayfs"
	}
	if _, err := cgroupHome(); err != nil {
		return "a machine of its own needs cgroup v2: " + err.Error()
	}
	if _, err := exec.LookPath("nsenter"); err != nil {
		return "a machine of its own needs nsenter of util-linux"
	}
	return ""
}

// MissingSystemd is Missing for a machine with systemd.
func MissingSystemd() string {
	if _, err := os.Stat(systemd); err != nil {
		return "systemd is not installed"
	}
	return Missing()
}

// hasFile says whether a file has a piece of text.
func hasFile(path, piece string) bool {
	text, err := os.ReadFile(path)
	return err == nil && strings.Contains(string(text), piece)
}

// Start starts a machine with an init, systemd if none is named. It is ready
// then: systemd has booted, and another init was executed. It ends with the
// test.
func Start(t testing.TB, init ...string) *Box {
	t.Helper()
	boots := len(init) == 0
	if boots {
		init = []string{systemd, "--system", "--log-target=journal", "--show-status=0"}
	}
	home, err := cgroupHome()
	if err != nil {
		t.Fatal(err)
	}
	sweep(home)
	sweep("/tmp")
	dir, err := os.MkdirTemp("/tmp", ownPrefix(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	b := &Box{dir: dir, console: filepath.Join(dir, "console"), gone: make(chan struct{})}
	t.Cleanup(func() { b.Stop(t) })
	for _, sub := range []string{"layer", "notice"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.boot(init, boots); err != nil {
		said, _ := os.ReadFile(b.console)
		t.Fatalf("testbed: %v\n%s", err, said)
	}
	return b
}

// boot starts the init and waits until it is ready.
func (b *Box) boot(init []string, wait bool) error {
	notice, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(b.dir, "notice/notify"), Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = notice.Close() }()
	if err := b.makeCgroup(); err != nil {
		return err
	}
	report, err := b.launch(init)
	if err != nil {
		return err
	}
	said, err := io.ReadAll(report)
	_ = report.Close()
	if err != nil || len(said) > 0 {
		return fmt.Errorf("%s%w", said, errors.Join(err))
	}
	if !wait {
		return nil
	}
	go func() { // a machine that ends while it boots says nothing more
		<-b.gone
		_ = notice.SetReadDeadline(time.Now())
	}()
	return awaitReady(notice)
}

// launch starts this program as the machine's first process, in namespaces of
// its own, and gives the pipe on which it reports. The thread that starts it
// stays until the end, since its end would kill the machine: that is how a
// machine ends when the test is killed.
func (b *Box) launch(init []string) (*os.File, error) {
	report, reporter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = reporter.Close() }()
	console, err := os.Create(b.console)
	if err != nil {
		return nil, err
	}
	defer func() { _ = console.Close() }()
	group, err := os.Open(b.cgroup)
	if err != nil {
		return nil, err
	}
	defer func() { _ = group.Close() }()
	cmd := exec.Command("/proc/self/exe", init...)
	cmd.Env = []string{searchPath, enterEnv + "=" + b.dir}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = console, console, []*os.File{reporter}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, Pdeathsig: syscall.SIGKILL, UseCgroupFD: true, CgroupFD: int(group.Fd()),
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET,
	}
	started := make(chan error, 1)
	go func() {
		defer close(b.gone)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(err, report.Close())
	}
	b.pid = cmd.Process.Pid
	b.stop = func() { _ = cmd.Process.Kill() }
	return report, nil
}

// awaitReady waits until systemd says that the boot is over.
func awaitReady(notice *net.UnixConn) error {
	buf := make([]byte, 4096)
	for {
		n, err := notice.Read(buf)
		if err != nil {
			return fmt.Errorf("it did not boot: %w", err)
		}
		if slices.Contains(strings.Split(string(buf[:n]), "\n"), "READY=1") {
			return nil
		}
	}
}

// cgroupHome is the directory of the cgroup v2 that this process is in.
func cgroupHome() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	at := ""
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			at = f[1]
			break
		}
	}
	for line := range strings.Lines(string(own)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok && at != "" {
			return filepath.Join(at, path), nil
		}
	}
	return "", errors.New("it is not mounted")
}

// makeCgroup makes the cgroup that the machine sees as the root of all.
func (b *Box) makeCgroup() error {
	home, err := cgroupHome()
	if err != nil {
		return err
	}
	b.cgroup, err = os.MkdirTemp(home, ownPrefix(os.Getpid()))
	return err
}

// ownPrefix is how the names of what belongs to a process's machines begin.
func ownPrefix(pid int) string { return "testbed-" + strconv.Itoa(pid) + "-" }

// sweep removes what the machines of tests left that were killed: their
// processes died with them.
func sweep(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, "testbed-*-*"))
	for _, path := range left {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(path), "testbed-%d-", &pid); err != nil || unix.Kill(pid, 0) != unix.ESRCH {
			continue
		}
		if _, err := os.Stat(filepath.Join(path, "cgroup.procs")); err == nil {
			_ = removeGroups(path)
		} else {
			_ = os.RemoveAll(path)
		}
	}
}

// Stop ends a machine at once, as if its power was cut.
func (b *Box) Stop(t testing.TB) {
	t.Helper()
	b.once.Do(func() {
		if b.stop != nil {
			b.stop()
			<-b.gone
		}
		err := os.RemoveAll(b.dir)
		if b.cgroup != "" {
			err = errors.Join(err, removeGroups(b.cgroup))
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// removeGroups removes a cgroup and those below it, which are empty.
func removeGroups(top string) error {
	var dirs []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	for _, dir := range slices.Backward(dirs) {
		err = errors.Join(err, os.Remove(dir))
	}
	return err
}
