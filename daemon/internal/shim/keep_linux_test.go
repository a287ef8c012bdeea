package shim

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/output"
	"dispatchd/daemon/internal/proc"
)

// leaver is a job that leaves something running which has its output, and says "left"
// when a gate opens.
func leaver(t *testing.T) (l proc.Launch, open func()) {
	t.Helper()
	l = newLaunch(t, "exit")
	gate := filepath.Join(t.TempDir(), "gate")
	if err := unix.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	l.Argv = []string{"/bin/sh", "-c", "echo job; (read -r _ < " + gate + "; echo left) & exit 3"}
	f, err := os.OpenFile(gate, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return l, func() {
		t.Helper()
		if _, err := f.WriteString("go\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// until waits for something that another process does.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for !is() {
		select {
		case <-t.Context().Done():
			t.Fatal("never " + what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// keepers counts the keepers of a job.
func keepers(job string) (pids []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		line, err := os.ReadFile(path)
		if words := bytes.Split(bytes.TrimRight(line, "\x00"), []byte{0}); err == nil && len(words) > 2 &&
			string(words[len(words)-1]) == keeperTitle && string(words[len(words)-2]) == job {
			pids = append(pids, filepath.Base(filepath.Dir(path)))
		}
	}
	return pids
}

// The job ends when its main process does, with all that this has printed, and its
// lock is free. What it left running prints on, and is no child of ours; its keeper
// leaves with it.
func TestKeeperAfterTheEnd(t *testing.T) {
	l, open := leaver(t)
	l.Job = "keeper-" + filepath.Base(string(l.Files))
	c, lock := supervise(t, l, ignore)
	x := c.Exit()
	if x.Code != 3 || x.Output == nil || *x.Output != (output.Totals{Bytes: 4, Open: true}) {
		t.Errorf("%+v, %+v", x, x.Output)
	}
	if printed(t, l) != "job\n" || !output.IsHeld(l.OutputFile) {
		t.Errorf("%q, held %t", printed(t, l), output.IsHeld(l.OutputFile))
	}
	waitSupervisor(c)
	if !isFree(t, lock) {
		t.Error("the lock is held")
	}
	until(t, "one keeper", func() bool { return len(keepers(l.Job)) == 1 })
	read, err := os.ReadFile("/proc/" + keepers(l.Job)[0] + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	stat := string(read)
	_, rest, _ := strings.Cut(stat, ") ")
	if parent := strings.Fields(rest)[1]; parent == fmt.Sprint(os.Getpid()) {
		t.Error("the keeper is our child")
	}
	if !strings.Contains(stat, "("+Name+")") {
		t.Errorf("it is called %s", stat)
	}
	open()
	until(t, "at the end", func() bool { return !output.IsHeld(l.OutputFile) })
	if got := printed(t, l); got != "job\nleft\n" {
		t.Errorf("%q", got)
	}
	until(t, "without keeper", func() bool { return len(keepers(l.Job)) == 0 })
}

// A supervisor serves the next job while what the one before left running is kept.
func TestKeeperAndNext(t *testing.T) {
	l, open := leaver(t)
	c, _ := superviseBy(t, self(), l, true, ignore)
	c.Exit()
	spare := c.Spare()
	if spare == nil {
		t.Fatal("it is no spare")
	}
	m := newLaunch(t, "exit")
	lock := newLock(t)
	next, err := spare.Next(m, []*os.File{lock}, ignore)
	if err != nil {
		t.Fatal(err)
	}
	if x := next.Exit(); x.Output == nil || *x.Output != (output.Totals{Bytes: 4}) {
		t.Errorf("%+v", x.Output)
	}
	open()
	until(t, "at the end", func() bool { return !output.IsHeld(l.OutputFile) })
	if got := printed(t, l); got != "job\nleft\n" {
		t.Errorf("%q", got)
	}
}

// Where no keeper can be started, the supervisor stays for what is left, and serves
// nothing else.
func TestSupervisorStays(t *testing.T) {
	l, open := leaver(t)
	c, lock := superviseBy(t, []string{os.Args[0], "lone"}, l, false, ignore)
	if x := c.Exit(); x.Code != 3 || !x.Output.Open {
		t.Errorf("%+v", x)
	}
	if s := c.Spare(); s != nil {
		m := newLaunch(t, "exit")
		if _, err := s.Next(m, nil, ignore); err == nil {
			t.Error("it serves another job")
		}
	}
	until(t, "free", func() bool { return isFree(t, lock) })
	if !output.IsHeld(l.OutputFile) {
		t.Error("nobody reads what is left")
	}
	open()
	until(t, "at the end", func() bool { return !output.IsHeld(l.OutputFile) })
	if got := printed(t, l); got != "job\nleft\n" {
		t.Errorf("%q", got)
	}
}
