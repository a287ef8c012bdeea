package box

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// shell begins a script.
func shell(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Begin(exec.Command("/bin/sh", "-c", script))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill() })
	return p
}

// A process is over when it has ended, with all that it printed, though a child
// holds its outputs for longer.
func TestOverBeforeItsPipe(t *testing.T) {
	t.Parallel()
	p, err := Begin(func() *exec.Cmd {
		cmd := exec.Command("/bin/sh", "-c", "sleep 1000 & echo first; echo talk >&2; seq 50000; echo last")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return cmd
	}())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL) }()
	if code := p.Code(); code != 0 {
		t.Errorf("exit %d", code)
	}
	out := p.Out.String()
	if !strings.HasPrefix(out, "first\n1\n2\n") || !strings.HasSuffix(out, "\n50000\nlast\n") || p.Err.String() != "talk\n" {
		t.Errorf("%d bytes, ending with %q; talk %q", len(out), out[max(0, len(out)-20):], p.Err.String())
	}
	if err := syscall.Kill(-p.Cmd.Process.Pid, 0); err != nil {
		t.Errorf("the child that holds the pipe: %v", err)
	}
}

// A daemon is up when its log says so, in words or as JSON, and not before.
func TestUp(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"level=INFO msg=ready pid=1", `{"level":"INFO","msg":"ready"}`} {
		p := shell(t, "echo '"+line+"' >&2; exec sleep 1000")
		if err := p.Up(); err != nil || p.Took <= 0 || Over(p.Dead) {
			t.Errorf("%s: %v, after %s", line, err, p.Took)
		}
		if !p.Kill() {
			t.Error("it was not our kill that ended it")
		}
	}
	p := shell(t, "echo msg=readying >&2; exit 3")
	if err := p.Up(); err == nil || !strings.Contains(err.Error(), "msg=readying") || p.Code() != 3 {
		t.Errorf("a daemon that ends at its start: %v", err)
	}
	if p.Kill() {
		t.Error("a process that had ended was killed")
	}
}

// What is waited for comes, or the process ends and the error shows what came.
func TestAwait(t *testing.T) {
	t.Parallel()
	p := shell(t, "echo one; read x; echo two")
	if err := p.Out.Await(regexp.MustCompile("one")); err != nil {
		t.Error(err)
	}
	if err := p.Out.Await(regexp.MustCompile("(?m)^two$")); err != nil { // it has no input
		t.Error(err)
	}
	if err := p.Out.Await(regexp.MustCompile("three")); err == nil || !strings.Contains(err.Error(), `"one\ntwo\n"`) {
		t.Errorf("what never comes: %v", err)
	}
}

// A program that cannot be started leaves no stream that somebody waits for.
func TestNoProgram(t *testing.T) {
	t.Parallel()
	if p, err := Begin(exec.Command("/nowhere/at/all")); err == nil {
		t.Errorf("began %v", p.Cmd)
	}
	if out, talk, code, err := Output(exec.Command("/bin/sh", "-c", "echo a; echo b >&2; exit 7")); out != "a\n" || talk != "b\n" || code != 7 || err != nil {
		t.Errorf("%q, %q, %d, %v", out, talk, code, err)
	}
	if _, _, _, err := Output(exec.Command("/nowhere/at/all")); err == nil {
		t.Error("a program that is not there ran")
	}
}

// What a test starts dies with it, also where it is killed.
func TestDiesWithTest(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks into /proc")
	}
	if os.Getenv("BOX_ORPHAN") != "" {
		p, err := Begin(exec.Command("sleep", "1000"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("child %d\n", p.Cmd.Process.Pid)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	cmd := exec.Command(os.Args[0], "-test.run=TestDiesWithTest")
	cmd.Env = append(os.Environ(), "BOX_ORPHAN=1")
	out, _ := cmd.Output()
	var pid int
	if _, err := fmt.Sscanf(string(out), "child %d", &pid); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	for { // it ends, or go test's time limit shows this line
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
	}
}
