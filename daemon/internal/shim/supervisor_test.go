package shim

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
	"dispatchd/dispatchers/mode"
)

// A job's end, result and last word come through, and then its lock is free.
func TestEnd(t *testing.T) {
	l := newLaunch(t, "say")
	c, lock := supervise(t, l, ignore)
	x := c.Exit()
	if x.Code != 0 || !x.Exited() || string(x.Result) != `{"n":1}` || string(x.Failure) != `{"code":7}` ||
		x.Progress == nil || x.Progress.Message != "end" || x.Started.IsZero() || x.Ended.Before(x.Started) {
		t.Errorf("%+v", x)
	}
	if !isFree(t, lock) {
		t.Error("the lock outlived its job")
	}
	c, _ = supervise(t, newLaunch(t, "exit", "CODE=42"), ignore)
	if x := c.Exit(); x.Code != 42 {
		t.Errorf("%+v", x)
	}
	l.Files.Remove()
	left, err := filepath.Glob(string(l.Files) + "*")
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A job that cannot be started has ended, with the reason.
func TestCannotStart(t *testing.T) {
	l := newLaunch(t, "exit")
	l.Argv = []string{"/nonexistent/program"}
	c, lock := supervise(t, l, ignore)
	if x := c.Exit(); x.Err == nil || !strings.Contains(x.Err.Error(), "/nonexistent/program") || x.NotStarted {
		t.Errorf("%+v", x)
	}
	if !isFree(t, lock) {
		t.Error("the lock outlived its job")
	}
}

// A job finds no signal ignored or blocked, has descriptors 0 to 3 only, and is not
// below a process that is called dispatchd.
func TestIsolation(t *testing.T) {
	l := newLaunch(t, "facts")
	c, _ := supervise(t, l, ignore)
	c.Exit()
	facts := printed(t, l)
	for _, want := range []string{"SigIgn:\t0000000000000000", "SigBlk:\t0000000000000000", "descriptor 3\n"} {
		if !strings.Contains(facts, want) {
			t.Errorf("no %q in\n%s", want, facts)
		}
	}
}

// A supervisor is called what it is, and names its job.
func TestName(t *testing.T) {
	l := newLaunch(t, "told")
	gate := gated(t, &l)
	said := newUpdates()
	c, _ := supervise(t, l, said.hear)
	said.until(t, message("waiting"))
	proc := "/proc/" + strconv.Itoa(c.PID())
	comm, err := os.ReadFile(proc + "/comm")
	if err != nil {
		t.Skip(err)
	}
	cmdline, err := os.ReadFile(proc + "/cmdline")
	if string(comm) != Name+"\n" || string(cmdline) != Name+"\x00shim\x00test\x00job\x00" {
		t.Errorf("%q, %q, %v", comm, cmdline, err)
	}
	if _, err := gate.WriteString("0\n"); err != nil {
		t.Fatal(err)
	}
	c.Exit()
}

// A later daemon finds the job, hears what it said last, and gets its end;
// meanwhile nobody else can have its lock.
func TestAdopt(t *testing.T) {
	l := newLaunch(t, "told")
	gate := gated(t, &l)
	first := newUpdates()
	c, lock := supervise(t, l, first.hear)
	first.until(t, message("waiting"))
	c.Leave()
	if isFree(t, lock) {
		t.Error("the lock is free while the job runs")
	}
	if err := c.Signal(syscall.SIGHUP); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal by who has left: %v", err)
	}
	second := newUpdates()
	again := Adopt(l.Files, "job", time.Time{}, second.hear)
	second.until(t, message("waiting")) // said before we came
	if _, err := gate.WriteString("5\n"); err != nil {
		t.Fatal(err)
	}
	if x := again.Exit(); x.Code != 5 || x.SupervisorLost {
		t.Errorf("%+v", x)
	}
	if !isFree(t, lock) {
		t.Error("the lock outlived its job")
	}
	if late := Adopt(l.Files, "job", time.Time{}, ignore); late.Exit().Code != 5 {
		t.Error("an end that was written down before is not found")
	}
	l.Files.Remove()
	if x := Adopt(l.Files, "nobody's job", time.Time{}, ignore).Exit(); !x.SupervisorLost || x.NotStarted || !strings.Contains(x.Lost, "files") {
		t.Errorf("after its files are gone: %+v", x)
	}
}

// A job dies with its supervisor, its end is not known, and nothing of it is left.
func TestSupervisorKilled(t *testing.T) {
	said := newUpdates()
	l := newLaunch(t, "deaf")
	c, lock := supervise(t, l, said.hear)
	said.until(t, message("deaf"))
	start, ok := l.Files.ReadStart()
	if !ok || start.Supervisor == nil || start.Child == nil {
		t.Fatalf("start: %+v", start)
	}
	if err := unix.Kill(start.Supervisor.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if x := c.Exit(); !x.SupervisorLost {
		t.Errorf("%+v", x)
	}
	if !isFree(t, lock) {
		t.Error("the lock outlived its supervisor")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(printed(t, l)))
	if err != nil {
		t.Fatal(err)
	}
	waitGone(t, *start.Child, proc.IdentityOf(pid))
}

// An attempt is started once, by whoever comes first, and the other one says so.
func TestStartedOnce(t *testing.T) {
	l := newLaunch(t, "exit")
	fd, err := l.Files.Create(proc.StartRecord{})
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	c, _ := supervise(t, l, ignore)
	if x := c.Exit(); !x.SupervisorLost { // as far as anybody can tell
		t.Errorf("%+v", x)
	}
	if text := printed(t, l); strings.Contains(text, "ran\n") || !strings.Contains(text, "run directory: ") {
		t.Errorf("output %q", text)
	}
}

// Where nothing could be made, nothing was started, and the reason is told.
func TestRefused(t *testing.T) {
	l := newLaunch(t, "exit")
	if err := os.Mkdir(l.Files.NewStatus(), 0o700); err != nil {
		t.Fatal(err)
	}
	c, lock := supervise(t, l, ignore)
	if x := c.Exit(); !x.NotStarted || x.Err == nil || !strings.HasPrefix(x.Err.Error(), "shim: run directory: ") || !proc.IsTransient(x.Err) || proc.IsFull(x.Err) {
		t.Errorf("%+v", x)
	}
	if !isFree(t, lock) {
		t.Error("the lock is held for nothing")
	}
}

// Stop reaches the job, also that of an earlier daemon.
func TestStop(t *testing.T) {
	said := newUpdates()
	l := newLaunch(t, "deaf")
	c, _ := supervise(t, l, said.hear)
	said.until(t, message("deaf"))
	c.Leave()
	again := Adopt(l.Files, "job", time.Time{}, ignore)
	if err := again.Stop(); err != nil {
		t.Error(err)
	}
	if x := again.Exit(); !x.Canceled || x.Signal != "SIGKILL" {
		t.Errorf("%+v", x)
	}
	if err := again.Stop(); err != nil {
		t.Errorf("stop of what has ended: %v", err)
	}
}

// People stop a job by SIGTERM to its supervisor.
func TestStopByHand(t *testing.T) {
	said := newUpdates()
	c, _ := supervise(t, newLaunch(t, "deaf"), said.hear)
	said.until(t, message("deaf"))
	if err := unix.Kill(c.PID(), unix.SIGHUP); err != nil { // means nothing
		t.Fatal(err)
	}
	if err := unix.Kill(c.PID(), unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if x := c.Exit(); !x.Canceled || x.Signal != "SIGKILL" {
		t.Errorf("%+v", x)
	}
}

// A signal goes to the job, an extension to its timeout.
func TestSignalAndExtend(t *testing.T) {
	said := newUpdates()
	l := newLaunch(t, "caught")
	l.Timeout, l.Grace = time.Hour, time.Hour
	c, _ := supervise(t, l, said.hear)
	said.until(t, message("listening"))
	if err := errors.Join(c.Signal(syscall.SIGHUP), c.Extend(10*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if x := c.Exit(); !x.TimedOut || x.Code != 0 {
		t.Errorf("%+v", x)
	}
	if got := printed(t, l); got != "hangup\nterminated\n" {
		t.Errorf("signals: %q", got)
	}
}

// With kill_mode none the timeout is told, and the job goes on to its own end.
func TestKillModeNone(t *testing.T) {
	l := newLaunch(t, "told")
	l.KillMode, l.Timeout = mode.None, 20*time.Millisecond
	gate := gated(t, &l)
	said := newUpdates()
	c, _ := supervise(t, l, said.hear)
	said.until(t, func(u proc.Update) bool { return u.Late })
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	c.Leave()
	again := Adopt(l.Files, "job", time.Time{}, said.hear)
	said.until(t, func(u proc.Update) bool { return u.Late })
	if _, err := gate.WriteString("0\n"); err != nil {
		t.Fatal(err)
	}
	if x := again.Exit(); !x.TimedOut || x.Canceled || x.Code != 0 || x.Signal != "" {
		t.Errorf("%+v", x)
	}
}

// Long output keeps its head and its tail while the job runs, and data are cut.
func TestOutputIsBounded(t *testing.T) {
	l := newLaunch(t, "")
	l.Argv = []string{"/bin/sh", "-c", "head -c 4000000 /dev/zero >&2; head -c 5000 /dev/zero; echo '1 done' >&3; read go"}
	l.MaxOutput, l.DataFile, l.MaxData = 100_000, filepath.Join(t.TempDir(), "data"), 1000
	gate := gated(t, &l)
	said := newUpdates()
	c, _ := supervise(t, l, said.hear)
	said.until(t, message("done"))
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		var log, data syscall.Stat_t
		if err := errors.Join(syscall.Stat(l.OutputFile, &log), syscall.Stat(l.DataFile, &data)); err != nil {
			t.Fatal(err)
		}
		if log.Size == 4_000_000 && log.Blocks*512 < 200_000 && data.Size == 1001 {
			break
		}
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatalf("%d blocks of output, %d bytes of data", log.Blocks, data.Size)
		}
	}
	_, _ = gate.WriteString("x\n")
	c.Exit()
}

// A path that is too long for a socket's address is no obstacle on Linux.
func TestLongPath(t *testing.T) {
	l := newLaunch(t, "exit", "CODE=3")
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.Files = proc.AttemptFiles(filepath.Join(dir, "job-1"))
	mark(t, l)
	f := newLock(t)
	c, err := Start(self(), l, []*os.File{f}, false, ignore)
	_ = f.Close()
	if err != nil {
		if strings.Contains(err.Error(), "choose a shorter --root") {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	if x := c.Exit(); x.Code != 3 {
		t.Errorf("%+v", x)
	}
	if again := Adopt(l.Files, "job", time.Time{}, ignore); again.Exit().Code != 3 {
		t.Error("not adopted")
	}
}

// A supervisor whose daemon goes down before it has said what to do starts nothing,
// and leaves no record: the attempt is still to be started.
func TestWithoutLaunch(t *testing.T) {
	l := newLaunch(t, "exit")
	b, err := newBirth(l.Files)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := b.fork(self(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(b.listener)
	_ = unix.Close(b.launch)
	half := appendRecord(nil, &l, 0)
	if _, err := unix.Write(b.to, half[:len(half)/2]); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(b.to)
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
		t.Fatal(err)
	}
	if x := Adopt(l.Files, "job", time.Time{}, ignore).Exit(); !x.NotStarted || x.Err != nil {
		t.Errorf("%+v", x)
	}
}

// A supervisor that is killed before it has started anything is no fault of the job.
func TestDiesAtOnce(t *testing.T) {
	l := newLaunch(t, "exit")
	c, err := Start([]string{"/bin/false"}, l, nil, false, ignore)
	if err != nil {
		t.Fatal(err)
	}
	if x := c.Exit(); !x.NotStarted || !proc.IsTransient(x.Err) {
		t.Errorf("%+v", x)
	}
}

// What cannot be started leaves nothing but the mark that it was not, and says why.
func TestNoSupervisor(t *testing.T) {
	l := newLaunch(t, "exit")
	if _, err := Start([]string{"/nonexistent/dispatchd-shim"}, l, nil, false, ignore); err == nil || !strings.Contains(err.Error(), "/nonexistent/dispatchd-shim") {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(string(l.Files) + "*"); !slices.Equal(left, []string{l.Files.Prepared()}) {
		t.Errorf("left: %v", left)
	}
	l.Files = "/nonexistent/run/job-1"
	if _, err := Start(self(), l, nil, false, ignore); err == nil || !strings.Contains(err.Error(), "run directory: ") {
		t.Errorf("%v", err)
	}
}
