//go:build linux

package lockfile

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A lock that its taker left to a child, as the daemon does to a shim, is the
// child's: the text says who that is, and the kernel's word for the taker does
// not overrule it.
func TestInheritedLock(t *testing.T) {
	dir := t.TempDir()
	f, err := Try(dir, "l", false, Holder{Job: "j", PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("cat")
	child.ExtraFiles = []*os.File{f}
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	Describe(f, Holder{Job: "j", PID: child.Process.Pid})
	_ = f.Close()
	_, err = Try(dir, "l", true, Holder{})
	busy, ok := errors.AsType[*BusyError](err)
	if !ok || busy.Holder.PID != child.Process.Pid || busy.Holder.Job != "j" || !strings.Contains(err.Error(), "for job j") {
		t.Errorf("held by %+v, want the child %d", err, child.Process.Pid)
	}
	_ = in.Close()
	_ = child.Wait()
	if f, err := Try(dir, "l", false, Holder{}); err != nil {
		t.Errorf("after its end: %v", err)
	} else {
		Release(f)
	}
}
