//go:build linux && service

package testbed

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	Enter()
	os.Exit(m.Run())
}

// TestBox boots a machine, changes it, and finds nothing of it here.
func TestBox(t *testing.T) {
	if why := MissingSystemd(); why != "" {
		t.Skip(why)
	}
	// A test that was killed leaves these. No process has the greatest number.
	home, err := cgroupHome()
	if err != nil {
		t.Fatal(err)
	}
	old := []string{filepath.Join(home, ownPrefix(math.MaxInt32)+"old"), filepath.Join("/tmp", ownPrefix(math.MaxInt32)+"old")}
	for _, dir := range old {
		if err := os.MkdirAll(filepath.Join(dir, "below"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b := Start(t)
	if state := strings.TrimSpace(b.Exec(t, "systemctl", "is-system-running")); state != "running" {
		t.Errorf("state %q, with these units failed:\n%s", state, b.Exec(t, "systemctl", "--failed"))
	}
	const name = "/etc/dispatchd-testbed"
	b.Write(t, name, "inside\n", 0o640)
	if got := b.Exec(t, "stat", "-c", "%a", name); got != "640\n" {
		t.Errorf("mode %q", got)
	}
	b.Put(t, b.Path(name), "/etc/copy")
	if got := b.Exec(t, "cat", "/etc/copy"); got != "inside\n" {
		t.Errorf("the copy has %q", got)
	}
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is here, too: %v", name, err)
	}
	if out, code := b.Try(t, "sh", "-c", "echo said; exit 3"); out != "said\n" || code != 3 {
		t.Errorf("said %q, exit %d", out, code)
	}
	b.Stop(t)
	for _, left := range append(old, b.cgroup, b.dir, b.Path("/")) {
		if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left behind: %s (%v)", left, err)
		}
	}
}

// TestOtherInit starts a machine whose first process is another one.
func TestOtherInit(t *testing.T) {
	if why := Missing(); why != "" {
		t.Skip(why)
	}
	b := Start(t, "/bin/sleep", "infinity")
	if got := b.Exec(t, "cat", "/proc/1/comm"); got != "sleep\n" {
		t.Errorf("the first process is %q", got)
	}
}
