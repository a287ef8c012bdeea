package cli

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// look has the daemon look at its own files now, and not within the next minute, and
// waits until its log tells of one of them.
func look(t *testing.T, b *box.Box, finds string) {
	t.Helper()
	_ = b.Life.Cmd.Process.Signal(syscall.SIGHUP)
	if err := b.Life.Err.Await(regexp.MustCompile(finds)); err != nil {
		t.Fatal(err, b.Life.Err)
	}
}

// The whole run directory is taken away while a job runs: the daemon makes it again,
// and the socket, and the files of the locks that the job holds. Nobody gets them
// beside it, jobs are accepted and run, and a crash before the job's end does not run
// it twice.
func TestRunDirectoryRemoved(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{
		"op":   "script = 'echo ran >> $BOX/op; read go < $BOX/gate || :'\n[locks]\nexclusive = ['l']\n",
		"next": "script = 'echo ran'\n",
	})
	gate, id := b.Gated("gate", "op")
	if err := os.RemoveAll(b.Path("run")); err != nil {
		t.Fatal(err)
	}
	look(t, b, "the socket .* was removed or replaced; it is made again")
	if job := b.Await(b.Notify("next", `{"a":1}`).ID); job.State != ipc.Succeeded {
		t.Errorf("%s %+v", job.State, job.Error)
	}
	s, err := b.Client.Status(t.Context())
	if err != nil || !strings.Contains(strings.Join(s.Warnings, "\n"), b.Path("run")+" was removed; it is made again") {
		t.Errorf("%q, %v", s.Warnings, err)
	}
	for _, lock := range [][]string{{"l"}, {"--dispatcher", "op"}} {
		args := append(append([]string{"lock", "--timeout", "10ms"}, lock...), "--", "/bin/true")
		if _, errw, code := b.Run("dispatchctl", args...); code == 0 || !strings.Contains(errw, "held by") {
			t.Errorf("lock %v: exit %d, %s", lock, code, errw)
		}
	}
	b.Kill()
	b.Start()
	_ = gate.Close()
	if job := b.Await(id); job.Attempt != 1 {
		t.Errorf("%s, attempt %d", job.State, job.Attempt)
	}
	if ran := b.Read("op"); ran != "ran\n" {
		t.Errorf("ran: %q", ran)
	}
	if out, errw, code := b.Run("dispatchctl", "lock", "l", "--", "/bin/true"); code != 0 {
		t.Errorf("afterwards: exit %d, %s%s", code, out, errw)
	}
}

// A notify is never lost with a journal that somebody has removed, and directories of
// state and caches are there again for the next job.
func TestStateRemoved(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{"op": "script = 'echo 1'\n[cache]\nmax_age = 1\n"})
	if err := errors.Join(os.Remove(b.Path("state/journal")), os.RemoveAll(b.Path("state/logs")), os.RemoveAll(b.Path("cache")), os.RemoveAll(b.Path("run/jobs"))); err != nil {
		t.Fatal(err)
	}
	n := b.Notify("op", `{"a":1}`)
	if job := b.Await(n.ID); job.State != ipc.Succeeded {
		t.Errorf("%s %+v", job.State, job.Error)
	}
	out, _, _ := b.Run("dispatchctl", "doctor")
	for _, what := range []string{"the journal in " + b.Path("state") + " was removed", b.Path("run/jobs") + " was removed", b.Path("cache") + " was removed"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), what) {
			t.Errorf("doctor is silent of %q: %s", what, out)
		}
	}
	b.Kill()
	b.Start()
	if job, err := b.Client.Job(t.Context(), n.ID); err != nil || job.State != ipc.Succeeded {
		t.Errorf("after a crash: %s, %v", job.State, err)
	}
}

// A daemon whose lock's file is removed keeps a second one out all the same.
func TestInstanceLockRemoved(t *testing.T) {
	t.Parallel()
	b := newBox(t, nil)
	refused := func(what string) {
		t.Helper()
		second := exec.Command(box.Program(t, "dispatchd"), "--root", b.Dir)
		if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), "another daemon uses") {
			t.Errorf("%s: %v, %s", what, err, out)
		}
	}
	if err := os.Remove(b.Path("state/lock")); err != nil {
		t.Fatal(err)
	}
	refused("at once")
	look(t, b, "the lock of .* was removed or replaced; it is made again")
	refused("made again")
	if _, err := b.Client.Health(t.Context()); err != nil {
		t.Error(err)
	}
}
