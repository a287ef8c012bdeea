package lockfile

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// busy tries a lock that is held and gives its holder.
func busy(t *testing.T, dir string) Holder {
	t.Helper()
	f, err := Try(dir, "x", false, Holder{})
	if err == nil {
		Release(f)
		t.Fatal("the lock is free")
	}
	b, ok := errors.AsType[*BusyError](err)
	if !ok {
		t.Fatal(err)
	}
	return b.Holder
}

// heir starts a process that inherits the lock and lives until the test ends.
func heir(t *testing.T, lock *os.File) int {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.ExtraFiles = []*os.File{lock}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// Who inherited a lock is its holder, also while the process that took it lives.
func TestInheritedLock(t *testing.T) {
	dir := t.TempDir()
	f, err := Try(dir, "x", false, Holder{Job: "J", PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	if h := busy(t, dir); h.Job != "J" || h.PID != os.Getpid() {
		t.Errorf("taken: %+v", h)
	}
	pid := heir(t, f)
	Describe(f, Holder{Job: "J", PID: pid})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if h := busy(t, dir); h.Job != "J" || h.PID != pid {
		t.Errorf("inherited: %+v, want job J and process %d", h, pid)
	}
	if h, held := Look(dir, "x"); !held || h.Job != "J" || h.PID != pid {
		t.Errorf("looked at: %+v, %t", h, held)
	}
}

// A text that somebody left behind is not believed.
func TestStaleText(t *testing.T) {
	dir := t.TempDir()
	f, err := Try(dir, "x", false, Holder{Job: "J", PID: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	if _, known := lookInKernel(f); !known {
		t.Skip("the kernel does not tell who holds a lock")
	}
	if h := busy(t, dir); h.Job != "" || h.PID != os.Getpid() {
		t.Errorf("%+v, want process %d", h, os.Getpid())
	}
	if h, held := Look(dir, "x"); !held || h.Job != "" || h.PID != os.Getpid() {
		t.Errorf("looked at: %+v, %t", h, held)
	}
	if err := f.Close(); err != nil { // as a process that dies: the text stays
		t.Fatal(err)
	}
	if h, held := Look(dir, "x"); held {
		t.Errorf("free, but %+v", h)
	}
}

// To look at a lock does not take it, not even for a moment.
func TestLookTakesNothing(t *testing.T) {
	dir := t.TempDir()
	if _, held := Look(dir, "x"); held {
		t.Error("a lock without a file is held")
	}
	if _, err := os.Stat(filepath.Join(dir, "x.lock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking made a file: %v", err)
	}
	if _, held := Look(dir, "../x"); held {
		t.Error("a name that is none is held")
	}
	f, err := Try(dir, "x", true, Holder{})
	if err != nil {
		t.Fatal(err)
	}
	defer Release(f)
	Look(dir, "x")
	g, err := Try(dir, "x", true, Holder{}) // an exclusive look would leave nothing to share
	if err != nil {
		t.Fatal(err)
	}
	Release(g)
}

func TestCommand(t *testing.T) {
	if got := Command(os.Getpid()); !strings.Contains(got, filepath.Base(os.Args[0])) {
		t.Errorf("this process: %q", got)
	}
	for _, pid := range []int{0, -1, 1 << 30} {
		if got := Command(pid); got != "" {
			t.Errorf("process %d: %q", pid, got)
		}
	}
}
