package shim

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
)

// removals are the ways in which an attempt's files may be removed while it runs: each
// alone, some together, all, with their directory.
func removals() map[string]func(proc.AttemptFiles) {
	only := func(names ...string) func(proc.AttemptFiles) {
		return func(f proc.AttemptFiles) {
			for _, name := range names {
				_ = os.Remove(string(f) + name)
			}
		}
	}
	return map[string]func(proc.AttemptFiles){
		"nothing": func(proc.AttemptFiles) {},
		"run":     only(".run"), "sock": only(".sock"), "fifo": only(".fifo"), "status.new": only(".status.new"), "args": only(".args"),
		"sock and fifo":      only(".sock", ".fifo"),
		"run and sock":       only(".run", ".sock"),
		"run and status.new": only(".run", ".status.new"),
		"all": func(f proc.AttemptFiles) {
			list, _ := filepath.Glob(string(f) + ".*")
			for _, path := range list {
				_ = os.Remove(path)
			}
		},
		"directory": func(f proc.AttemptFiles) { _ = os.RemoveAll(filepath.Dir(string(f))) },
	}
}

// inDirectory gives a launch files in a directory of their own, which may be removed,
// and a job of its own name.
func inDirectory(t *testing.T, l proc.Launch, name string) proc.Launch {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "jobs")
	l.Job = "job " + name
	l.Files = proc.AttemptFiles(filepath.Join(dir, "job-1"))
	return mark(t, l)
}

// underway is a job that runs below a supervisor, with files in a directory of its own.
type underway struct {
	proc.Launch
	client *Client
	lock   string
	gate   *os.File // its standard input
}

// begin starts a job of a helper, and waits for its first word.
func begin(t *testing.T, helper, word string) underway {
	t.Helper()
	said := newUpdates()
	u := underway{Launch: inDirectory(t, newLaunch(t, helper), t.Name())}
	u.gate = gated(t, &u.Launch)
	u.client, u.lock = supervise(t, u.Launch, said.hear)
	said.until(t, message(word))
	return u
}

// Whatever is removed of a running job's files, it runs once, and its daemon is told its
// true end.
func TestFilesRemoved(t *testing.T) {
	for name, remove := range removals() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := begin(t, "told", "waiting")
			remove(u.Files)
			_, _ = u.gate.WriteString("5\n")
			if x := u.client.Exit(); x.Code != 5 || !x.Exited() {
				t.Errorf("%+v", x)
			}
			waitFree(t, u.lock, name)
		})
	}
}

// So it is when the daemon goes down meanwhile, and another one takes the job over: it
// stops it, is told its progress, and its end.
func TestFilesRemovedBetweenDaemons(t *testing.T) {
	for name, remove := range removals() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := begin(t, "told", "waiting")
			u.client.Leave()
			remove(u.Files)
			again := newUpdates()
			heir := Adopt(u.Files, u.Job, time.Time{}, again.hear)
			again.until(t, message("waiting"))
			_, _ = u.gate.WriteString("5\n")
			if x := heir.Exit(); x.Code != 5 || !x.Exited() {
				t.Errorf("%+v", x)
			}
			waitFree(t, u.lock, name)
		})
	}
}

// A stop that comes before the supervisor is found is heard, also while its FIFO, which
// has no other end, is still listened to.
func TestStopWithoutFiles(t *testing.T) {
	for _, gone := range []string{"directory", "run and sock"} {
		t.Run(gone, func(t *testing.T) {
			t.Parallel()
			u := begin(t, "deaf", "deaf")
			u.client.Leave()
			removals()[gone](u.Files)
			heir := Adopt(u.Files, u.Job, time.Time{}, ignore)
			if err := heir.Stop(); err != nil {
				t.Error(err)
			}
			if x := heir.Exit(); !x.Canceled {
				t.Errorf("%+v", x)
			}
			waitFree(t, u.lock, "stopped")
		})
	}
}

// The end of a job whose supervisor is killed, too, is not known: it is never taken for
// one that has not started. Nothing of it is left.
func TestFilesRemovedAndKilled(t *testing.T) {
	for name, remove := range removals() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := begin(t, "deaf", "deaf")
			start, ok := u.Files.ReadStart()
			if !ok {
				t.Fatal("it has not started")
			}
			remove(u.Files)
			if err := unix.Kill(u.client.PID(), unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if x := u.client.Exit(); !x.SupervisorLost || x.NotStarted {
				t.Errorf("%+v", x)
			}
			waitGone(t, *start.Supervisor, *start.Child)
			start.Tree = ""
			if left := proc.RemainsOf(start).Kill(); left != "" {
				t.Errorf("left: %v", left)
			}
			// A later daemon, which knows nothing else of it, says the same.
			if x := Adopt(u.Files, u.Job, time.Time{}, ignore).Exit(); !x.SupervisorLost || x.NotStarted {
				t.Errorf("by the next daemon: %+v", x)
			}
		})
	}
}

// What was prepared and has not started is started; what lost its mark before is not.
func TestPreparedOnly(t *testing.T) {
	l := inDirectory(t, newLaunch(t, "exit"), t.Name())
	if x := Adopt(l.Files, l.Job, time.Time{}, ignore).Exit(); !x.NotStarted || x.Err != nil {
		t.Errorf("prepared: %+v", x)
	}
	if err := os.Remove(l.Files.Prepared()); err != nil {
		t.Fatal(err)
	}
	if x := Adopt(l.Files, l.Job, time.Time{}, ignore).Exit(); x.NotStarted || !x.SupervisorLost {
		t.Errorf("without its mark: %+v", x)
	}
	c, _ := supervise(t, l, ignore)
	if x := c.Exit(); !x.NotStarted || !proc.IsTransient(x.Err) {
		t.Errorf("started without its mark: %+v", x)
	}
	if text := printed(t, l); strings.Contains(text, "ran\n") {
		t.Errorf("it ran: %q", text)
	}
}

// Where the end cannot be written, a daemon that is there is told it; one that comes
// later finds it, as soon as it could be written. So long the locks are held.
func TestEndCannotBeWritten(t *testing.T) {
	for _, attended := range []bool{true, false} {
		u := begin(t, "told", "waiting")
		dir := filepath.Dir(string(u.Files))
		if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil { // no directory can be made there
			t.Fatal(err)
		}
		if !attended {
			u.client.Leave()
		}
		_, _ = u.gate.WriteString("5\n")
		if attended {
			if x := u.client.Exit(); x.Code != 5 || !x.Exited() {
				t.Errorf("%+v", x)
			}
			waitFree(t, u.lock, "told")
			continue
		}
		if isFree(t, u.lock) {
			t.Error("the lock is free though nobody knows the end")
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for {
			if x, ok := readOutcome(u.Files); ok {
				if x.Code != 5 {
					t.Errorf("%+v", x)
				}
				break
			}
			<-ticker.C
		}
		waitFree(t, u.lock, "written")
		if x := Adopt(u.Files, u.Job, time.Time{}, ignore).Exit(); x.Code != 5 || !x.Exited() {
			t.Errorf("by the next daemon: %+v", x)
		}
	}
}
