//go:build pfsense

package pfsense

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// dropIn is dispatch.sh as the package calls it, with the box's daemon.
func (b *phpBox) dropIn(env []string, args ...string) *exec.Cmd {
	b.T.Helper()
	cmd := exec.CommandContext(b.T.Context(), "sh", append([]string{filepath.Join(source, "dispatch.sh")}, args...)...)
	cmd.Env = append(append(os.Environ(), ipc.SocketEnv+"="+b.Client.Socket, "DISPATCHCTL="+box.Program(b.T, "dispatchctl")), env...)
	return cmd
}

// dispatch starts dispatch.sh as the package does. Both paths are of the box.
func (b *phpBox) dispatch(env []string, class, pidFile, timeout, args string) *exec.Cmd {
	b.T.Helper()
	cmd := b.dropIn(env, class, pidFile, timeout, args)
	if err := cmd.Start(); err != nil {
		b.T.Fatal(err)
	}
	return cmd
}

// ended waits for a command and gives its exit status.
func ended(cmd *exec.Cmd) int {
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// jobs are the jobs of a dispatcher, newest first.
func (b *phpBox) jobs(name string) []ipc.Job {
	b.T.Helper()
	all, err := b.Client.Jobs(b.T.Context(), ipc.JobFilter{Dispatcher: name, Fields: []string{"arguments", "result"}})
	if err != nil {
		b.T.Fatal(err)
	}
	return all
}

// gatedFile is a dispatcher that says when it runs and goes on when it is told.
const gatedFile = "script = 'echo up > $BOX/up; read x < $BOX/gate'\n"

// gates makes the fifos of gatedFile.
func (b *phpBox) gates() {
	b.T.Helper()
	for _, name := range []string{"up", "gate"} {
		if err := syscall.Mkfifo(b.Path(name), 0o600); err != nil {
			b.T.Fatal(err)
		}
	}
}

// An entry is one process with the id that the package knows, as long as its
// job is there; the pid file goes with it.
func TestDropIn(t *testing.T) {
	b := newBox(t, map[string]string{"gated": gatedFile, "echo": `php_class = "EchoDispatcher"`})
	b.gates()
	pid := b.Path("a.pid")
	cmd := b.dispatch(nil, "gated", pid, "300", "[]")
	b.Read("up")
	if got := strings.TrimSpace(b.Read("a.pid")); got != fmt.Sprint(cmd.Process.Pid) {
		t.Errorf("the pid file says %s, the process is %d", got, cmd.Process.Pid)
	}
	b.Write("gate", "go\n")
	if code := ended(cmd); code != 0 || len(b.jobs("gated")) != 1 || len(b.jobs("gated")[0].Arguments) > 0 {
		t.Errorf("exit %d, jobs %+v", code, b.jobs("gated"))
	}
	if _, err := os.Stat(pid); err == nil {
		t.Error("the pid file is left")
	}
	// A timeout ends the run, and time in the queue is none of it.
	first := b.dispatch(nil, "gated", b.Path("c.pid"), "1", `{"n":1}`)
	b.Read("up")
	second := b.dispatch(nil, "gated", b.Path("d.pid"), "60", `{"n":2}`)
	if code := ended(first); code != 125 {
		t.Errorf("exit %d after its timeout", code)
	}
	b.Read("up")
	b.Write("gate", "go\n")
	if code := ended(second); code != 0 {
		t.Errorf("the second entry: exit %d", code)
	}
	// Who kills the process ends the run, and the next one starts.
	killed := b.dispatch(nil, "gated", b.Path("k.pid"), "300", "[]")
	b.Read("up")
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait()
	if job := b.Await(b.jobs("gated")[0].ID); job.State != ipc.Canceled {
		t.Errorf("after its process was killed: %s %+v", job.State, job.Error)
	}
	for _, args := range []string{`{"text":"it's \"quoted\" $(x) 100% ü😀 a  b"}`, `["` + strings.Repeat("a b ", 25<<10) + `"]`} {
		if code := ended(b.dispatch(nil, "echo", b.Path("e.pid"), "300", args)); code != 0 {
			t.Errorf("exit %d", code)
		}
		if got := b.jobs("echo")[0]; string(got.Arguments) != args || got.State != ipc.Succeeded {
			t.Errorf("%s with %.100s", got.State, got.Arguments)
		}
	}
}

// Arguments that the package has cut into pieces are refused, not guessed.
func TestDropInPieces(t *testing.T) {
	b := at(t, t.TempDir())
	b.Write("x.pid", "1\n")
	out, err := exec.Command("sh", filepath.Join(source, "dispatch.sh"), "X", b.Path("x.pid"), "300", `{"a":"it`, `\''s"}'`).CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 65 || !strings.Contains(string(out), "nothing was run") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(b.Path("x.pid")); err == nil {
		t.Error("the pid file is left")
	}
}

// Arguments that are no JSON are nothing when they come here: the class is not run
// without them. A script of before 2.1 has none to give.
func TestDropInLost(t *testing.T) {
	b := newBox(t, map[string]string{"gated": "script = 'exit 0'\n"})
	b.Write("x.pid", "1\n")
	if code := ended(b.dispatch(nil, "gated", b.Path("x.pid"), "300", "")); code != 65 {
		t.Errorf("exit %d", code)
	}
	if _, err := os.Stat(b.Path("x.pid")); err == nil || len(b.jobs("gated")) > 0 {
		t.Errorf("a pid file is left, or a job was asked for: %v", b.jobs("gated"))
	}
	if out, err := b.dropIn(nil, "gated", b.Path("x.pid"), "300").CombinedOutput(); err != nil || len(b.jobs("gated")) != 1 {
		t.Errorf("without arguments: %v %s", err, out)
	}
}

// What comes from outside is never an option, and arguments are on no command line
// of ours.
func TestDropInCommandLine(t *testing.T) {
	b := at(t, t.TempDir())
	b.program("ctl", "#!/bin/sh\nprintf '<%s>' \"$@\" >"+b.Path("argv")+"\ncat >"+b.Path("stdin")+"\n")
	long := `["` + strings.Repeat("secret ", 15<<10) + `"]`
	for _, c := range []struct{ class, args string }{{"--socket=/tmp/x", `{"p":"secret"}`}, {"X", "--pidfile=/etc/x"}, {"X", long}, {"X", "[]"}} {
		cmd := exec.Command("sh", filepath.Join(source, "dispatch.sh"), c.class, b.Path("p.pid"), "--signal=9", c.args)
		cmd.Env = append(os.Environ(), "DISPATCHCTL="+b.Path("ctl"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		argv, stdin := b.Read("argv"), strings.TrimSuffix(b.Read("stdin"), "\n")
		options, outside, _ := strings.Cut(argv, "<-->")
		want := "<" + c.class + "><-><-->"
		if c.args == "[]" {
			want, c.args = "<"+c.class+"><-->", ""
		}
		if !strings.HasPrefix(outside, want) || strings.Contains(options, c.class) || strings.Contains(argv, "secret") || stdin != c.args {
			t.Errorf("dispatchctl gets %.300s and %.100q", argv, stdin)
		}
	}
}

// Where no daemon answers or it does not know the class, the package's own
// runner is started, with its arguments in one piece.
func TestDropInOldWay(t *testing.T) {
	b := newBox(t, map[string]string{"gated": gatedFile})
	b.program("bin/php", "#!/bin/sh\nprintf '<%s>' \"$@\" >>$OUT\n[ -z \"${DISPATCHD_OLD_WAY:-}\" ] || echo leaked >>$OUT\n")
	const manage = "</usr/local/pkg/RESTAPI/.resources/scripts/manage.php>"
	for _, c := range []struct{ class, socket, args string }{
		{"Unknown", b.Client.Socket, `{"a":"b  c's"}`},
		{"gated", b.Path("no.sock"), `{"a":"b  c's"}`},
		{"gated", b.Path("no.sock"), "[]"},
	} {
		pid := b.Path("x.pid")
		b.Write("x.pid", "1\n")
		env := []string{"PATH=" + b.Path("bin") + ":" + os.Getenv("PATH"), "OUT=" + b.Path("out"), ipc.SocketEnv + "=" + c.socket}
		if code := ended(b.dispatch(env, c.class, pid, "10", c.args)); code != 0 {
			t.Errorf("%s: exit %d", c.class, code)
		}
		if got, want := b.Read("out"), "<-f>"+manage+"<notifydispatcher><"+c.class+"><"+c.args+">"; got != want {
			t.Errorf("the old way got %s, want %s", got, want)
		}
		if _, err := os.Stat(pid); err == nil {
			t.Error("the pid file is left")
		}
		if err := os.Remove(b.Path("out")); err != nil {
			t.Fatal(err)
		}
	}
}
