package shim

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
	"dispatchd/dispatchers/mode"
)

// hostile is a job that does all it can to hide: it ignores TERM, starts
// sessions, forks twice, closes its descriptors and cleans its environment.
func hostile(t *testing.T, m mode.KillMode) (proc.Launch, string) {
	t.Helper()
	l := newLaunch(t, "hostile")
	l.KillMode, l.Grace = m, 50*time.Millisecond
	pids := filepath.Join(t.TempDir(), "pids")
	l.Env = append(l.Env, "PIDS="+pids)
	return l, pids
}

// alive lists the processes of a hostile job that still run.
func alive(t *testing.T, pids string) (left []int) {
	t.Helper()
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(word)
		if err == nil && proc.IdentityOf(pid).Alive() {
			left = append(left, pid)
		}
	}
	if n := len(strings.Fields(string(text))); n < 5 {
		t.Fatalf("the job has only %d processes", n)
	}
	return left
}

// lanes are the ways to follow a tree on this machine: by cgroup where one is
// writable, and by descent.
func lanes(t *testing.T, fn func(t *testing.T, noCgroup bool)) {
	t.Run("best", func(t *testing.T) { fn(t, false) })
	t.Run("by descent", func(t *testing.T) { fn(t, true) })
}

func TestHostileJob(t *testing.T) {
	lanes(t, func(t *testing.T, noCgroup bool) {
		said := newUpdates()
		l, pids := hostile(t, mode.Tree)
		l.NoCgroup = noCgroup
		c, lock := supervise(t, l, said.hear)
		said.until(t, message("hidden"))
		_ = c.Stop()
		if x := c.Exit(); !x.Canceled {
			t.Errorf("%+v", x)
		}
		if left := alive(t, pids); len(left) > 0 {
			t.Errorf("tree left %v", left)
		}
		if !isFree(t, lock) {
			t.Error("the lock is not free")
		}
	})
	t.Run("group", func(t *testing.T) {
		said := newUpdates()
		l, pids := hostile(t, mode.Group)
		c, _ := supervise(t, l, said.hear)
		said.until(t, message("hidden"))
		_ = c.Stop()
		c.Exit()
		left := alive(t, pids)
		if len(left) == 0 {
			t.Error("group killed what left it: this test tests nothing")
		}
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	})
}

// What forks for ever is ended too.
func TestForkBomb(t *testing.T) {
	lanes(t, func(t *testing.T, noCgroup bool) {
		said := newUpdates()
		l := newLaunch(t, "bomb")
		l.KillMode, l.Grace, l.NoCgroup = mode.Tree, 10*time.Millisecond, noCgroup
		c, lock := supervise(t, l, said.hear)
		said.until(t, message("ticking"))
		_ = c.Stop()
		c.Exit()
		if !isFree(t, lock) {
			t.Error("the lock is not free")
		}
	})
}

// What a job leaves behind stays, unless it says otherwise.
func TestLeftovers(t *testing.T) {
	for _, left := range []mode.Leftovers{mode.Leave, mode.Kill} {
		t.Run(string(left), func(t *testing.T) {
			l, pids := hostile(t, mode.Group)
			l.Leftovers = left
			l.Env = append(l.Env, "LEAVE=1")
			c, _ := supervise(t, l, ignore)
			if x := c.Exit(); x.Code != 0 || x.Canceled || x.TimedOut {
				t.Errorf("%+v", x)
			}
			there := alive(t, pids)
			if (len(there) > 0) != (left == mode.Leave) {
				t.Errorf("left: %v", there)
			}
			for _, pid := range there {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		})
	}
}
