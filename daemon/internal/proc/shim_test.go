package proc

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/dispatchers/mode"
)

// updates counts what a job said, and waits for it.
type updates struct {
	mu   sync.Mutex
	said []Update
	came chan struct{}
}

func listen() *updates { return &updates{came: make(chan struct{}, 100)} }

func (u *updates) hear(up Update) {
	u.mu.Lock()
	u.said = append(u.said, up)
	u.mu.Unlock()
	u.came <- struct{}{}
}

// until waits for an update that fits.
func (u *updates) until(t *testing.T, fits func(Update) bool) {
	t.Helper()
	for {
		u.mu.Lock()
		if slices.ContainsFunc(u.said, fits) {
			u.mu.Unlock()
			return
		}
		u.mu.Unlock()
		select {
		case <-u.came:
		case <-t.Context().Done():
			t.Fatal("the job said nothing")
		}
	}
}

func message(want string) func(Update) bool { return func(u Update) bool { return u.Message == want } }

// shimmed starts a helper below a shim, with one lock.
func shimmed(t *testing.T, l Launch, hear func(Update)) (*Remote, string) {
	t.Helper()
	l.Files = AttemptFiles(filepath.Join(t.TempDir(), "job-1"))
	l.Job, l.Dispatcher = "job", "test"
	lock := filepath.Join(t.TempDir(), "lock")
	f, err := os.OpenFile(lock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.OutputFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := StartShim([]string{os.Args[0], "shim"}, l, []*os.File{f}, hear)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Files.KillRemaining("no job has this id") })
	_ = f.Close()
	return r, lock
}

// free reports whether a lock can be taken.
func free(t *testing.T, path string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
		t.Fatal(err)
	}
	return err == nil
}

func TestShim(t *testing.T) {
	r, lock := shimmed(t, launch(t, "progress"), func(Update) {})
	exit := r.Exit()
	if exit.Code != 0 || exit.SupervisorLost || exit.NotStarted || exit.Err != nil || string(exit.Result) != `{"n":1}` || string(exit.Failure) != `{"code":7}` ||
		exit.Progress == nil || exit.Progress.Message != "end" || exit.Started.IsZero() || exit.Ended.Before(exit.Started) {
		t.Errorf("%+v", exit)
	}
	if !free(t, lock) {
		t.Error("the lock outlived its job")
	}
	r, _ = shimmed(t, launch(t, "exit", "CODE=42"), func(Update) {})
	if exit := r.Exit(); exit.Code != 42 {
		t.Errorf("%+v", exit)
	}
	l := launch(t, "exit")
	l.Argv = []string{"/nonexistent/program"}
	r, _ = shimmed(t, l, func(Update) {})
	if exit := r.Exit(); exit.Err == nil || !strings.Contains(exit.Err.Error(), "/nonexistent/program") || exit.NotStarted {
		t.Errorf("%+v", exit)
	}
}

// A later daemon finds the job, hears what it said last, and gets its end;
// meanwhile nobody else can have its lock.
func TestAdopt(t *testing.T) {
	l := launch(t, "told")
	l.ArgsFile = filepath.Join(t.TempDir(), "in")
	if err := unix.Mkfifo(l.ArgsFile, 0o600); err != nil {
		t.Fatal(err)
	}
	gate, err := os.OpenFile(l.ArgsFile, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	first := listen()
	r, lock := shimmed(t, l, first.hear)
	first.until(t, message("waiting"))
	r.Leave()
	if free(t, lock) {
		t.Error("the lock is free while the job runs")
	}
	second := listen()
	again, ok := Adopt(r.marks, "job", second.hear)
	if !ok {
		t.Fatal("not found")
	}
	second.until(t, message("waiting")) // said before we came
	if _, err := gate.WriteString("5\n"); err != nil {
		t.Fatal(err)
	}
	if exit := again.Exit(); exit.Code != 5 || exit.SupervisorLost {
		t.Errorf("%+v", exit)
	}
	if !free(t, lock) {
		t.Error("the lock outlived its job")
	}
	late, ok := Adopt(r.marks, "job", func(Update) {})
	if !ok || late.Exit().Code != 5 {
		t.Error("an end that was written down before is not found")
	}
	r.marks.Remove()
	if _, ok := Adopt(r.marks, "job", func(Update) {}); ok || r.marks.Started() {
		t.Error("found after its marks are gone")
	}
}

// A job dies with its shim, its end is not known, and nothing of it is left.
func TestShimKilled(t *testing.T) {
	said := listen()
	l := launch(t, "stubborn")
	r, lock := shimmed(t, l, said.hear)
	said.until(t, message("deaf"))
	began, ok := r.marks.ReadStart()
	if !ok || began.Supervisor == nil || began.Child == nil {
		t.Fatalf("marks: %+v", began)
	}
	if err := unix.Kill(began.Supervisor.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := r.Exit(); !exit.SupervisorLost {
		t.Errorf("%+v", exit)
	}
	if !free(t, lock) {
		t.Error("the lock outlived its shim")
	}
	out, _ := os.ReadFile(l.OutputFile)
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatalf("output %q", out)
	}
	gone(t, *began.Child, IdentityOf(pid))
}

// gone waits until processes are dead: a kill is not awaited by who sends it.
func gone(t *testing.T, list ...Identity) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, i := range list {
		for n := 0; i.Alive(); n++ {
			if n > 5000 {
				t.Fatalf("process %d is left", i.PID)
			}
			<-tick.C
		}
	}
}

// A pipe without a shim, and without a mark that the job began, means never.
func TestNotStarted(t *testing.T) {
	m := AttemptFiles(filepath.Join(t.TempDir(), "job-1"))
	if err := unix.Mkfifo(m.Fifo(), 0o600); err != nil {
		t.Fatal(err)
	}
	r, ok := Adopt(m, "job", func(Update) {})
	if !ok {
		t.Fatal("not found")
	}
	if exit := r.Exit(); !exit.NotStarted || exit.SupervisorLost || exit.Err != nil {
		t.Errorf("%+v", exit)
	}
	// An attempt is started once, by whoever comes first.
	if _, err := m.Create(StartRecord{}); err != nil {
		t.Fatal(err)
	}
	k, err := Prepare(Launch{Argv: []string{"/bin/true"}, Dir: "/", Files: m})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Discard()
	if _, err := k.Start(func(Update) {}); err == nil {
		t.Error("started twice")
	}
}

// Stop reaches the job through its shim, also that of an earlier daemon.
func TestShimStop(t *testing.T) {
	said := listen()
	r, _ := shimmed(t, launch(t, "stubborn"), said.hear)
	said.until(t, message("deaf"))
	r.Leave()
	again, _ := Adopt(r.marks, "job", func(Update) {})
	_ = again.Stop()
	if exit := again.Exit(); !exit.Canceled || exit.Signal != "SIGKILL" {
		t.Errorf("%+v", exit)
	}
}

// With kill_mode none the timeout is told, and the job goes on to its own end.
func TestKillModeNone(t *testing.T) {
	l := launch(t, "told")
	l.KillMode, l.Timeout = mode.None, 20*time.Millisecond
	l.ArgsFile = filepath.Join(t.TempDir(), "in")
	if err := unix.Mkfifo(l.ArgsFile, 0o600); err != nil {
		t.Fatal(err)
	}
	gate, err := os.OpenFile(l.ArgsFile, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	said := listen()
	r, _ := shimmed(t, l, said.hear)
	said.until(t, func(u Update) bool { return u.Late })
	_ = r.Stop()
	if _, err := gate.WriteString("0\n"); err != nil {
		t.Fatal(err)
	}
	if exit := r.Exit(); !exit.TimedOut || exit.Canceled || exit.Code != 0 || exit.Signal != "" {
		t.Errorf("%+v", exit)
	}
}

// hostile is a job that does all it can to hide: it ignores TERM, starts
// sessions, forks twice, closes its descriptors and cleans its environment.
func hostile(t *testing.T, kill mode.KillMode) (Launch, string) {
	t.Helper()
	l := launch(t, "hostile")
	l.KillMode, l.Grace = kill, 50*time.Millisecond
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
		if err == nil && IdentityOf(pid).Alive() {
			left = append(left, pid)
		}
	}
	if n := len(strings.Fields(string(text))); n < 5 {
		t.Fatalf("the job has only %d processes", n)
	}
	return left
}

// lanes are the ways to follow a tree on this machine.
func lanes(t *testing.T, fn func(t *testing.T, byDescent bool)) {
	t.Run("best", func(t *testing.T) { fn(t, false) })
	t.Run("by descent", func(t *testing.T) { fn(t, true) })
}

func TestHostileJob(t *testing.T) {
	lanes(t, func(t *testing.T, byDescent bool) {
		said := listen()
		l, pids := hostile(t, mode.Tree)
		l.NoCgroup = byDescent
		r, lock := shimmed(t, l, said.hear)
		said.until(t, message("hidden"))
		_ = r.Stop()
		if exit := r.Exit(); !exit.Canceled {
			t.Errorf("%+v", exit)
		}
		if left := alive(t, pids); len(left) > 0 {
			t.Errorf("tree left %v", left)
		}
		if !free(t, lock) {
			t.Error("the lock is not free")
		}
	})
	t.Run("group", func(t *testing.T) {
		said := listen()
		l, pids := hostile(t, mode.Group)
		r, _ := shimmed(t, l, said.hear)
		said.until(t, message("hidden"))
		_ = r.Stop()
		r.Exit()
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
	lanes(t, func(t *testing.T, byDescent bool) {
		said := listen()
		l := launch(t, "bomb")
		l.KillMode, l.Grace, l.NoCgroup = mode.Tree, 10*time.Millisecond, byDescent
		r, lock := shimmed(t, l, said.hear)
		said.until(t, message("ticking"))
		_ = r.Stop()
		r.Exit()
		if !free(t, lock) {
			t.Error("the lock is not free")
		}
	})
}

// What a job leaves behind stays, unless it says otherwise.
func TestLeftovers(t *testing.T) {
	for _, leftovers := range mode.Leave.Values() {
		t.Run(string(leftovers), func(t *testing.T) {
			l, pids := hostile(t, mode.Group)
			l.Leftovers = leftovers
			l.Env = append(l.Env, "LEAVE=1")
			r, _ := shimmed(t, l, func(Update) {})
			if exit := r.Exit(); exit.Code != 0 || exit.Canceled || exit.TimedOut {
				t.Errorf("%+v", exit)
			}
			left := alive(t, pids)
			if (len(left) > 0) != (leftovers == mode.Leave) {
				t.Errorf("left: %v", left)
			}
			for _, pid := range left {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		})
	}
}

// helpHostile plays the hostile job: a chain of processes, each in a session of
// its own, deaf, without descriptors and environment.
func helpHostile() int {
	signal.Ignore(syscall.SIGTERM)
	depth, _ := strconv.Atoi(os.Getenv("DEPTH"))
	pids, err := os.OpenFile(os.Getenv("PIDS"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	fmt.Fprintln(pids, os.Getpid())
	if depth < 5 {
		r, w, err := os.Pipe()
		if err != nil {
			return 1
		}
		_, err = os.StartProcess(os.Args[0], os.Args, &os.ProcAttr{
			Env:   []string{"PROC_HELPER=hostile", "PIDS=" + os.Getenv("PIDS"), "DEPTH=" + strconv.Itoa(depth+1)},
			Files: []*os.File{nil, w}, Sys: &syscall.SysProcAttr{Setsid: depth%2 == 0},
		})
		if err != nil {
			return 1
		}
		_, _ = r.Read(make([]byte, 1)) // it is as far as it gets
	}
	if depth > 0 {
		_, _ = os.Stdout.WriteString("x")
		if depth%2 == 1 {
			return 0 // its child is nobody's now
		}
		forever()
	}
	fmt.Fprintln(os.NewFile(3, "progress"), "1 hidden")
	if os.Getenv("LEAVE") == "" {
		forever()
	}
	return 0
}

// helpBomb starts processes without end, each of which does the same until the
// job is killed. It is bounded for a kill that does not work.
func helpBomb() int {
	signal.Ignore(syscall.SIGTERM)
	if os.Getenv("SPARK") == "" {
		fmt.Fprintln(os.NewFile(3, "progress"), "1 ticking")
	}
	for range 200 {
		p, err := os.StartProcess("/bin/sh", []string{"sh", "-c", "trap '' TERM; (setsid sleep 60 &) ; sleep 0.02"}, &os.ProcAttr{Env: []string{"SPARK=1", "PATH=/bin:/usr/bin"}})
		if err == nil {
			_ = p.Release()
		}
	}
	forever()
	return 0
}

// A shim whose daemon goes down before it has said what to do starts nothing,
// and leaves no mark: the attempt is still to be started.
func TestShimWithoutLaunch(t *testing.T) {
	m := AttemptFiles(filepath.Join(t.TempDir(), "job-1"))
	if err := unix.Mkfifo(m.Fifo(), 0o600); err != nil {
		t.Fatal(err)
	}
	r, ok := Adopt(m, "job", func(Update) {}) // opens the reader
	if !ok {
		t.Fatal("not found")
	}
	r.Leave()
	reader, err := os.OpenFile(m.Fifo(), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	w, err := os.OpenFile(m.Fifo(), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	in, launch, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	shim, err := os.StartProcess(os.Args[0], []string{os.Args[0], "shim"}, &os.ProcAttr{Files: []*os.File{nil, nil, nil, in, w}})
	if err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	_ = w.Close()
	if _, err := launch.WriteString(`{"job":"half`); err != nil {
		t.Fatal(err)
	}
	_ = launch.Close()
	again, ok := Adopt(m, "job", func(Update) {})
	if !ok {
		t.Fatal("not found")
	}
	if exit := again.Exit(); !exit.NotStarted || exit.Err != nil {
		t.Errorf("%+v", exit)
	}
	if _, err := shim.Wait(); err != nil {
		t.Fatal(err)
	}
}

// A shim that is killed before it has started anything is no fault of the job.
func TestShimDiesAtOnce(t *testing.T) {
	l := launch(t, "exit")
	l.Files, l.Job, l.Dispatcher = AttemptFiles(filepath.Join(t.TempDir(), "job-1")), "job", "test"
	r, err := StartShim([]string{"/bin/false"}, l, nil, func(Update) {})
	if err != nil {
		t.Fatal(err)
	}
	if exit := r.Exit(); !exit.NotStarted || !IsTransient(exit.Err) {
		t.Errorf("%+v", exit)
	}
}
