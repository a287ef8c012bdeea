package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
	"dispatchd/dispatchers/mode"
)

// follow makes the launch of the job that comes after one, with files of its own.
func follow(t *testing.T, l proc.Launch, helper string, env ...string) proc.Launch {
	t.Helper()
	next := newLaunch(t, helper, env...)
	next.Job = "nex" // as long as the first one's: the title has no more room
	next.Files = l.Files + "x"
	return mark(t, next)
}

// ended waits for a job's end, and gives its supervisor.
func ended(t *testing.T, c *Client) *Spare {
	t.Helper()
	if x := c.Exit(); !x.Exited() {
		t.Fatalf("%+v", x)
	}
	s := c.Spare()
	if s == nil {
		t.Fatal("the supervisor has not stayed")
	}
	return s
}

// kept starts a job whose supervisor stays.
func kept(t *testing.T, l proc.Launch) (c *Client, lock string) {
	t.Helper()
	return superviseBy(t, self(), l, true, ignore)
}

// serve has a spare supervisor serve a job, with one lock.
func serve(t *testing.T, s *Spare, l proc.Launch, hear func(proc.Update)) (c *Client, lock string) {
	t.Helper()
	f := newLock(t)
	defer func() { _ = f.Close() }()
	c, err := s.Next(l, []*os.File{f}, hear)
	if err != nil {
		t.Fatal(err)
	}
	return c, f.Name()
}

// waitLeft waits until a supervisor's process is gone and has been waited for.
func waitLeft(t *testing.T, pid int) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for unix.Kill(pid, 0) == nil {
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatalf("process %d is left", pid)
		}
	}
}

// One process serves a row of jobs. Each has its own files, output, umask and lock,
// which is held from its start to its end, and the process is named after it.
func TestNext(t *testing.T) {
	first := newLaunch(t, "exit", "CODE=3")
	first.Umask = 0o077
	c, lock := kept(t, first)
	s := ended(t, c)
	if !isFree(t, lock) {
		t.Error("a supervisor without a job holds a lock")
	}
	first.Files.Remove() // its end is known

	second := follow(t, first, "told")
	gate := gated(t, &second)
	said := newUpdates()
	next, lock := serve(t, s, second, said.hear)
	if next.PID() != c.PID() {
		t.Errorf("process %d serves it, not %d", next.PID(), c.PID())
	}
	said.until(t, message("waiting"))
	if isFree(t, lock) {
		t.Error("the lock is free while the job runs")
	}
	if text, err := os.ReadFile("/proc/" + strconv.Itoa(c.PID()) + "/cmdline"); err == nil && !strings.HasSuffix(string(text), "\x00test\x00"+second.Job+"\x00") {
		t.Errorf("title %q", text)
	}
	if p := connect(t, second.Files); true { // it has a socket of its own
		p.say(`{"id":1,"verb":"status"}` + "\n")
		if r := p.hear(); r.Status.Progress.Message != "waiting" {
			t.Errorf("%+v", r)
		}
	}
	_, _ = gate.WriteString("4\n")
	if x := next.Exit(); x.Code != 4 || x.Progress.Message != "waiting" {
		t.Errorf("%+v", x)
	}
	if !isFree(t, lock) {
		t.Error("the lock outlived its job")
	}
	if err := c.Stop(); err != nil { // the job before is over, and nobody else is meant
		t.Error(err)
	}
	c.Leave()

	third := follow(t, second, "")
	third.Argv = []string{"/bin/sh", "-c", "umask; echo oops >&2; exit 5"}
	last, _ := serve(t, ended(t, next), third, ignore)
	if x := last.Exit(); x.Code != 5 || last.PID() != c.PID() {
		t.Errorf("%+v", x)
	}
	if got := printed(t, third); got != "0022\noops\n" {
		t.Errorf("output %q", got)
	}
	ended(t, last).Discard()
	waitLeft(t, c.PID())
}

// A job that cannot be started has ended, and its supervisor serves the next one. Who
// asks for what cannot be is told so, and nothing is started.
func TestNextErrors(t *testing.T) {
	first := newLaunch(t, "exit")
	c, _ := kept(t, first)
	s := ended(t, c)
	second := follow(t, first, "exit")
	second.Argv = []string{"/nonexistent/program"}
	next, lock := serve(t, s, second, ignore)
	if x := next.Exit(); x.Err == nil || !strings.Contains(x.Err.Error(), "/nonexistent/program") {
		t.Errorf("%+v", x)
	}
	if !isFree(t, lock) {
		t.Error("the lock outlived its job")
	}
	p := connect(t, second.Files)
	p.say(`{"id":1,"verb":"next"}` + "\n")
	if r := p.hear(); r.Error != errNoDescriptors.Error() {
		t.Errorf("%+v", r)
	}

	// The run directory is full.
	third := follow(t, second, "exit")
	if err := os.Mkdir(third.Files.NewStatus(), 0o700); err != nil {
		t.Fatal(err)
	}
	last, lock := serve(t, next.Spare(), third, ignore)
	if x := last.Exit(); !x.NotStarted || x.Err == nil || !strings.HasPrefix(x.Err.Error(), "shim: run directory: ") {
		t.Errorf("%+v", x)
	}
	if !isFree(t, lock) {
		t.Error("the lock is held for nothing")
	}
	if last.Spare() != nil {
		t.Error("it serves on")
	}
	waitLeft(t, c.PID())
}

// An attempt that somebody else has started is not started again.
func TestNextStartedOnce(t *testing.T) {
	first := newLaunch(t, "exit")
	c, _ := kept(t, first)
	s := ended(t, c)
	second := follow(t, first, "exit")
	fd, err := second.Files.Create(proc.StartRecord{})
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	next, _ := serve(t, s, second, ignore)
	if x := next.Exit(); !x.SupervisorLost { // as far as anybody can tell
		t.Errorf("%+v", x)
	}
	if text := printed(t, second); strings.Contains(text, "ran") {
		t.Error("it ran")
	}
}

// A running job's supervisor takes no other.
func TestNextWhileRunning(t *testing.T) {
	l, c, end := waiting(t)
	p := connect(t, l.Files)
	p.say(`{"id":1,"verb":"next"}` + "\n")
	if r := p.hear(); r.Error != "next: the job runs" {
		t.Errorf("%+v", r)
	}
	end(0)
	c.Exit()
}

// What cannot be served, or should not, is left to a new supervisor, and the old one
// goes.
func TestNoSpare(t *testing.T) {
	for name, spoil := range map[string]func(s *Spare, l *proc.Launch) []*os.File{
		"its program was replaced": func(s *Spare, _ *proc.Launch) []*os.File { s.link.program.size++; return nil },
		"the job wants a tree":     func(_ *Spare, l *proc.Launch) []*os.File { l.KillMode = mode.Tree; return nil },
		"too many locks":           func(*Spare, *proc.Launch) []*os.File { return make([]*os.File, maxFDs) },
		"it was killed": func(s *Spare, _ *proc.Launch) []*os.File {
			_ = unix.Kill(s.link.pid, unix.SIGKILL)
			return nil
		},
		"it was told to end": func(s *Spare, _ *proc.Launch) []*os.File {
			_ = unix.Kill(s.link.pid, unix.SIGTERM)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			first := newLaunch(t, "exit")
			c, _ := kept(t, first)
			s := ended(t, c)
			second := follow(t, first, "exit")
			second.ArgsFile = second.Files.Args()
			if err := os.WriteFile(second.ArgsFile, []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
			locks := spoil(s, &second)
			next, err := s.Next(second, locks, ignore)
			switch {
			case errors.Is(err, ErrNoSpare):
				// The supervisor that is started instead gives the job its arguments, and needs
				// the mark.
				if left, _ := filepath.Glob(string(second.Files) + "*"); !slices.Equal(left, []string{second.ArgsFile, second.Files.Prepared()}) {
					t.Errorf("left %v", left)
				}
				if text := printed(t, second); strings.Contains(text, "ran") {
					t.Error("it ran")
				}
			case err == nil && strings.HasPrefix(name, "it was"): // it was faster than the signal
				next.Exit() // stopped, if the signal came late
				if left := next.Spare(); left != nil {
					left.Discard()
				}
			default:
				t.Errorf("%v", err)
			}
			waitLeft(t, c.PID())
		})
	}
}

// A job that was started by an earlier daemon, one whose descendants are followed, and
// one that was not kept leave no spare supervisor.
func TestSpareIsNotKept(t *testing.T) {
	c, _ := supervise(t, newLaunch(t, "exit"), ignore)
	c.Exit()
	if c.Spare() != nil {
		t.Error("it stays unasked")
	}
	waitLeft(t, c.PID())

	l, c, end := waiting(t)
	c.Leave()
	again := Adopt(l.Files, "job", time.Time{}, ignore)
	end(0)
	again.Exit()
	if again.Spare() != nil {
		t.Error("another daemon's program is trusted")
	}
	waitSupervisor(c)
	waitLeft(t, c.PID())
}

// A daemon that dies leaves no supervisor without a job behind.
func TestIdleSupervisorGoes(t *testing.T) {
	c, _ := kept(t, newLaunch(t, "exit"))
	s := ended(t, c)
	s.link.close() // as the kernel does it for the dead
	waitLeft(t, c.PID())
}

// A daemon that dies after it has sent a next: the job is started, and the next
// daemon finds it, whatever it comes to see.
func TestDaemonDiesOverNext(t *testing.T) {
	for i := range 10 {
		first := newLaunch(t, "exit")
		c, _ := kept(t, first)
		s := ended(t, c)
		second := follow(t, first, "exit", "CODE=6")
		lock := newLock(t)
		b, err := newBirth(second.Files)
		if err != nil {
			t.Fatal(err)
		}
		heir := newClient(second.Files, second.Job, ignore)
		heir.channel = s.link
		if err := s.link.sendNext(heir, unix.UnixRights(b.launch, b.listener, int(lock.Fd()))); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			b.give(appendRecord(nil, &second, 1))
		} else { // it has not even said what to do
			_, _, _ = unix.Close(b.launch), unix.Close(b.listener), unix.Close(b.to)
		}
		_ = lock.Close()
		s.link.close()
		switch x := Adopt(second.Files, second.Job, time.Time{}, ignore).Exit(); {
		case i%2 == 0 && x.Code == 6 && x.Exited():
		case i%2 == 1 && x.NotStarted && x.Err == nil:
		default:
			t.Errorf("%d: %+v", i, x)
		}
		waitFree(t, lock.Name(), fmt.Sprint(i))
	}
}

// The umask of a job is not that of the next one's files: a daemon that is not
// root's has to read them.
func TestNextUmask(t *testing.T) {
	first := newLaunch(t, "exit")
	first.Umask = 0o777
	c, _ := kept(t, first)
	s := ended(t, c)
	first.Files.Remove()
	second := follow(t, first, "exit")
	next, _ := serve(t, s, second, ignore)
	<-next.Done()
	for _, path := range []string{second.Files.Run(), second.Files.Status()} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	ended(t, next).Discard()
	waitLeft(t, c.PID())
}
