//go:build linux

package testbed

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// PID is the machine's first process, as this machine sees it.
func (b *Box) PID() int { return b.pid }

// Path is a path of the machine as seen from here: a file there can be opened,
// and a socket connected to.
func (b *Box) Path(path string) string {
	return filepath.Join("/proc", strconv.Itoa(b.pid), "root", path)
}

// Cgroup is the directory, here, of the cgroup that the machine sees as the root
// of all. Its processes have the numbers that they have here.
func (b *Box) Cgroup() string { return b.cgroup }

// Command is a command that runs in the machine. If ctx ends first, what it
// started may live on until the machine ends.
func (b *Box) Command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(b.pid), "-a", "--"}, argv...)...)
	cmd.Env = []string{searchPath, "LC_ALL=C.UTF-8", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=", "SYSTEMD_LESS=", "HOME=/root"}
	cmd.WaitDelay = time.Second
	return cmd
}

// Try runs a command in the machine and gives what it says on both outputs, and
// its exit code.
func (b *Box) Try(t testing.TB, argv ...string) (string, int) {
	t.Helper()
	cmd := b.Command(context.WithoutCancel(t.Context()), argv...) // clean-ups run commands, too
	out, err := cmd.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Exec runs a command in the machine that must succeed, and gives what it says.
func (b *Box) Exec(t testing.TB, argv ...string) string {
	t.Helper()
	out, code := b.Try(t, argv...)
	if code != 0 {
		t.Fatalf("%s: exit %d\n%s", strings.Join(argv, " "), code, out)
	}
	return out
}

// Put copies a file into the machine, with its mode. A program that runs there
// is not written to but replaced.
func (b *Box) Put(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(t, to, string(data), fi.Mode().Perm())
}

// Write makes a file in the machine.
func (b *Box) Write(t testing.TB, path, text string, mode fs.FileMode) {
	t.Helper()
	at := b.Path(path)
	err := os.MkdirAll(filepath.Dir(at), 0o755)
	if err == nil {
		err = os.WriteFile(at+".new", []byte(text), mode)
	}
	if err == nil {
		err = errors.Join(os.Chmod(at+".new", mode), os.Rename(at+".new", at))
	}
	if err != nil {
		t.Fatalf("%s in the testbed: %v", path, err)
	}
}
