package shim

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

	"dispatchd/daemon/internal/proc"
	"dispatchd/dispatchers/mode"
)

// TestMain lets the test binary be the supervisor, and the jobs below it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "shim" || os.Args[1] == "lone") {
		if os.Args[1] == "lone" && os.Args[len(os.Args)-1] == keeperTitle {
			os.Exit(1) // of this one there are no keepers
		}
		proc.SetName(Name)
		os.Exit(Main())
	}
	if helper := os.Getenv("SHIM_HELPER"); helper != "" {
		os.Exit(help(helper))
	}
	os.Exit(m.Run())
}

// self is the argv of a supervisor.
func self() []string { return []string{os.Args[0], "shim"} }

// help is the job's side.
func help(name string) int {
	switch name {
	case "exit":
		code, _ := strconv.Atoi(os.Getenv("CODE"))
		fmt.Println("ran")
		return code
	case "facts":
		text, _ := os.ReadFile("/proc/self/status")
		fmt.Print(string(text))
		for fd := range 64 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				fmt.Println("descriptor", fd)
			}
		}
	case "say": // says much, and the last word is the result
		f := os.NewFile(3, "progress")
		fmt.Fprintf(f, "10 begin\n%s\n{\"percent\":99,\"message\":\"end\"}\n{\"error\":{\"code\":7}}\n{\"result\":{\"n\":1}}", strings.Repeat("x", 200_000))
	case "told": // ends as it is told on standard input
		fmt.Fprintln(os.NewFile(3, "progress"), "50 waiting")
		var code int
		_, _ = fmt.Scan(&code)
		return code
	case "chatty": // says what it is told, and ends when it is told 0
		f := os.NewFile(3, "progress")
		fmt.Fprintln(f, "0 up")
		for n := 1; n != 0; {
			_, _ = fmt.Scan(&n)
			fmt.Fprintf(f, "%d word\n", n)
		}
	case "caught": // says which signals come
		came := make(chan os.Signal, 4)
		signal.Notify(came, syscall.SIGHUP, syscall.SIGTERM)
		fmt.Fprintln(os.NewFile(3, "progress"), "1 listening")
		for s := range came {
			fmt.Println(s)
			if s == syscall.SIGTERM {
				return 0
			}
		}
	case "deaf": // does not hear SIGTERM, and neither does its child
		signal.Ignore(syscall.SIGTERM)
		r, w, err := os.Pipe()
		if err != nil {
			return 1
		}
		child, err := os.StartProcess("/bin/sh", []string{"sh", "-c", "trap '' TERM; echo $$; while :; do sleep 100; done"}, &os.ProcAttr{Files: []*os.File{nil, w}})
		if err != nil {
			return 1
		}
		var pid int
		_, _ = fmt.Fscan(r, &pid) // it is deaf by now
		fmt.Println(pid)
		fmt.Fprintln(os.NewFile(3, "progress"), "1 deaf")
		_, _ = child.Wait()
	case "hostile":
		return helpHostile()
	case "bomb":
		return helpBomb()
	}
	return 0
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
			Env:   []string{"SHIM_HELPER=hostile", "PIDS=" + os.Getenv("PIDS"), "DEPTH=" + strconv.Itoa(depth+1)},
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
	fmt.Fprintln(os.NewFile(3, "progress"), "1 ticking")
	for range 200 {
		p, err := os.StartProcess("/bin/sh", []string{"sh", "-c", "trap '' TERM; (setsid sleep 60 &) ; sleep 0.02"}, &os.ProcAttr{Env: []string{"PATH=/bin:/usr/bin"}})
		if err == nil {
			_ = p.Release()
		}
	}
	forever()
	return 0
}

// forever blocks. A bare select would be a deadlock to the runtime, which ends
// the helper with status 2.
func forever() {
	for {
		<-time.After(time.Hour)
	}
}

// updates collects what a job says, and waits for it.
type updates struct {
	mu   sync.Mutex
	said []proc.Update
	came chan struct{}
}

func newUpdates() *updates { return &updates{came: make(chan struct{}, 1000)} }

func (u *updates) hear(up proc.Update) {
	u.mu.Lock()
	u.said = append(u.said, up)
	u.mu.Unlock()
	u.came <- struct{}{}
}

// until waits for an update that fits.
func (u *updates) until(t *testing.T, fits func(proc.Update) bool) {
	t.Helper()
	for {
		u.mu.Lock()
		found := slices.ContainsFunc(u.said, fits)
		u.mu.Unlock()
		if found {
			return
		}
		select {
		case <-u.came:
		case <-t.Context().Done():
			t.Fatal("the job said nothing")
		}
	}
}

func message(want string) func(proc.Update) bool {
	return func(u proc.Update) bool { return u.Message == want }
}

func percent(want float64) func(proc.Update) bool {
	return func(u proc.Update) bool { return u.Percent != nil && *u.Percent == want }
}

// ignore is an onUpdate for who does not care.
func ignore(proc.Update) {}

// newLaunch is a launch of a helper, as the only job in a run directory.
func newLaunch(t *testing.T, helper string, env ...string) proc.Launch {
	t.Helper()
	dir := t.TempDir()
	l := proc.Launch{
		Job: "job", Dispatcher: "test", Files: proc.AttemptFiles(filepath.Join(dir, "job-1")),
		Argv: []string{os.Args[0]}, Dir: "/", Umask: -1, OutputFile: filepath.Join(dir, "out"), Grace: 100 * time.Millisecond,
		KillMode: mode.Group, Leftovers: mode.Leave, Env: append([]string{"SHIM_HELPER=" + helper, "GOTRACEBACK=none"}, env...),
	}
	if err := os.WriteFile(l.OutputFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return mark(t, l)
}

// mark prepares a launch's attempt, as a daemon does before it journals the start.
func mark(t *testing.T, l proc.Launch) proc.Launch {
	t.Helper()
	if err := l.Files.Prepare(); err != nil {
		t.Fatal(err)
	}
	l.Marked = true
	return l
}

// gated has a launch read its standard input from a pipe, whose other end is given.
func gated(t *testing.T, l *proc.Launch) *os.File {
	t.Helper()
	l.ArgsFile = filepath.Join(t.TempDir(), "in")
	if err := unix.Mkfifo(l.ArgsFile, 0o600); err != nil {
		t.Fatal(err)
	}
	gate, err := os.OpenFile(l.ArgsFile, os.O_RDWR, 0) // open for both, neither side waits
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gate.Close() })
	return gate
}

// newLock takes a lock.
func newLock(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return f
}

// isFree reports whether a lock can be taken.
func isFree(t *testing.T, path string) bool {
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

// supervise starts a launch below a supervisor, with one lock.
func supervise(t *testing.T, l proc.Launch, hear func(proc.Update)) (c *Client, lock string) {
	t.Helper()
	return superviseBy(t, self(), l, false, hear)
}

// superviseBy is supervise with a program for the supervisor, which stays when the job
// has ended, or does not.
func superviseBy(t *testing.T, program []string, l proc.Launch, keep bool, hear func(proc.Update)) (c *Client, lock string) {
	t.Helper()
	f := newLock(t)
	c, err := Start(program, l, []*os.File{f}, keep, hear)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		start, _ := l.Files.ReadStart()
		proc.RemainsOf(start).End(func(string) {})
	})
	_ = f.Close()
	return c, f.Name()
}

// waitGone waits until processes are dead: a kill is not awaited by who sends it.
func waitGone(t *testing.T, list ...proc.Identity) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for _, i := range list {
		for i.Alive() {
			select {
			case <-ticker.C:
			case <-t.Context().Done():
				t.Fatalf("process %d is left", i.PID)
			}
		}
	}
}

// printed is what a job has printed.
func printed(t *testing.T, l proc.Launch) string {
	t.Helper()
	text, err := os.ReadFile(l.OutputFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// waitFree waits until a lock is free: who holds it may have been killed just now.
func waitFree(t *testing.T, lock, place string) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !isFree(t, lock) {
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatalf("%s: the lock is held", place)
		}
	}
}
