//go:build pfsense

package pfsense

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dispatchd/ipc"
)

// In the minutes of boot there is no run directory yet: a door makes it as the
// daemon does, and the daemon that comes then waits for the run.
func TestDoorsAtBoot(t *testing.T) {
	d := newDoors(t)
	d.hook("native")
	d.Stop()
	if err := os.RemoveAll(d.Path("run")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(d.Path("go"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.Write("doors/RESTAPI/Dispatchers/MeetDispatcher.inc", fmt.Sprintf("<?php\nnamespace RESTAPI\\Dispatchers;\nclass MeetDispatcher extends \\RESTAPI\\Core\\Dispatcher {\n    protected function _process(mixed ...$a): void { if (getenv('DISPATCHD_JOB_ID') === false) { exec('sleep 600 >/dev/null 2>&1 & echo $! >%s'); file_get_contents('%s'); } }\n}\n", d.Path("left"), d.Path("go")))
	cmd := d.command()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	open, err := os.OpenFile(d.Path("go"), os.O_WRONLY, 0) // it runs
	if err != nil {
		t.Fatal(err)
	}
	d.Start()
	id := d.Notify("MeetDispatcher", "").ID
	for { // until the daemon has seen who has the lock
		job, err := d.Client.Job(t.Context(), id)
		if err != nil || job.State != ipc.Queued {
			t.Fatalf("beside the door: %s %v", job.State, err)
		}
		if w := job.WaitingFor; w != nil && w.PID == cmd.Process.Pid {
			break
		}
	}
	out, _, _ := d.Run("dispatchctl", "why", id)
	if !strings.Contains(out, fmt.Sprint(cmd.Process.Pid)) {
		t.Errorf("why: %s", out)
	}
	_ = open.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	// What the run left behind goes on, and does not have the lock.
	if job := d.Await(id); job.State != ipc.Succeeded {
		t.Errorf("%s %+v", job.State, job.Error)
	}
	var left int
	if _, err := fmt.Sscan(d.Read("left"), &left); err != nil || !lives(left) {
		t.Errorf("what the run started is gone: %v", err)
	}
	_ = killHard(left)
}

// A lock that cannot be had safely is not had: nothing runs without it.
func TestDoorsForeignDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give directories away")
	}
	d := newDoors(t)
	d.hook("native")
	d.Stop()
	for what, put := range map[string]func(dir string) error{
		"another's": func(dir string) error { return os.Chown(dir, 65534, 65534) },
		"open":      func(dir string) error { return os.Chmod(dir, 0o777) },
		"a link": func(dir string) error {
			if err := os.Rename(dir, dir+".at"); err != nil {
				return err
			}
			return os.Symlink(dir+".at", dir)
		},
		"a linked lock": func(dir string) error {
			lock := filepath.Join(dir, "dispatchers/MeetDispatcher.lock")
			_ = os.Remove(lock)
			return os.Symlink(d.Path("victim"), lock)
		},
	} {
		if err := os.MkdirAll(d.Path("run/dispatchers"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := put(d.Path("run")); err != nil {
			t.Fatal(err)
		}
		cmd := d.command()
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != 75 || !strings.Contains(string(out), "Nothing was run") {
			t.Errorf("%s: %v %s", what, err, out)
		}
		for _, path := range []string{"run", "run.at"} {
			if err := os.RemoveAll(d.Path(path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if alone, met := d.counted(); alone+met > 0 {
		t.Errorf("%d runs", alone+met)
	}
	if _, err := os.Stat(d.Path("victim")); err == nil {
		t.Error("a link was followed")
	}
	d.Start()
}
