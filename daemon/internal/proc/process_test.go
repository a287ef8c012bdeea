package proc

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/dispatchers/mode"
)

// TestMain lets the test binary be its own helper commands.
func TestMain(m *testing.M) {
	if helper := os.Getenv("PROC_HELPER"); helper != "" {
		os.Exit(help(helper))
	}
	os.Exit(m.Run())
}

// help is the child's side.
func help(name string) int {
	switch name {
	case "exit":
		code, _ := strconv.Atoi(os.Getenv("CODE"))
		return code
	case "stubborn": // ignores TERM, and so does what it leaves in its group
		signal.Ignore(syscall.SIGTERM)
		r, w, err := os.Pipe()
		if err != nil {
			return 1
		}
		child, err := os.StartProcess(os.Args[0], os.Args, &os.ProcAttr{
			Env: []string{"PROC_HELPER=sleep"}, Files: []*os.File{nil, w, os.Stderr, os.NewFile(3, "progress")},
		})
		if err != nil {
			return 1
		}
		_, _ = r.Read(make([]byte, 1)) // it is deaf, too
		fmt.Println(child.Pid)
		fmt.Fprintln(os.NewFile(3, "progress"), "1 deaf")
		forever()
	case "sleep":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("deaf")
		forever()
	case "progress":
		f := os.NewFile(3, "progress")
		fmt.Fprintf(f, "10 begin\n%s\n{\"percent\":99,\"message\":\"end\"}\n{\"error\":{\"code\":7}}\n{\"result\":{\"n\":1}}", strings.Repeat("x", 200_000))
	case "facts":
		for fd := range 64 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				fmt.Print(fd, " ")
			}
		}
		sid, _ := unix.Getsid(0)
		fmt.Println(sid == os.Getpid(), unix.Getpgrp() == os.Getpid())
	}
	return 0
}

// forever blocks. A bare select would be a deadlock to the runtime, which ends
// the helper with status 2.
func forever() {
	for {
		<-time.After(time.Hour)
	}
}

// launch is a launch of a helper.
func launch(t *testing.T, helper string, env ...string) Launch {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Launch{
		Argv: []string{self}, Dir: "/", Umask: -1, OutputFile: filepath.Join(t.TempDir(), "out"), KillMode: mode.Group, Grace: 100 * time.Millisecond,
		Env: append([]string{"PROC_HELPER=" + helper, "GOTRACEBACK=none"}, env...),
	}
}

// start starts a launch.
func start(t *testing.T, l Launch) *Process {
	t.Helper()
	p, err := Start(l, func(Update) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func TestExitStatus(t *testing.T) {
	exit := start(t, launch(t, "exit", "CODE=42")).Exit()
	if exit.Code != 42 || exit.Signal != "" || exit.TimedOut || exit.Canceled || exit.Err != nil {
		t.Errorf("%+v", exit)
	}
}

// A child's identity is the one that another process sees.
func TestIdentity(t *testing.T) {
	p := start(t, launch(t, "sleep"))
	if seen := IdentityOf(p.identity.PID); p.Identity() != seen || seen.Start == 0 {
		t.Fatalf("identity %+v, seen from outside %+v", p.Identity(), seen)
	}
}

// A stop ends a child that ignores TERM, and all of its group.
func TestStopKillsGroup(t *testing.T) {
	l := launch(t, "stubborn")
	deaf := make(chan struct{})
	var once sync.Once
	p, err := Start(l, func(Update) { once.Do(func() { close(deaf) }) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	<-deaf
	_ = p.Stop()
	if exit := p.Exit(); !exit.Canceled || exit.Signal != "SIGKILL" {
		t.Errorf("%+v", exit)
	}
	out, err := os.ReadFile(l.OutputFile)
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(out))); err != nil || IdentityOf(pid).Alive() {
		t.Errorf("process %q of the group is left (%v)", out, err)
	}
	if p.Identity().Alive() {
		t.Error("the identity is still alive")
	}
}

// The timeout ends a child, however far it has got.
func TestTimeout(t *testing.T) {
	l := launch(t, "stubborn")
	l.Timeout = 50 * time.Millisecond
	p := start(t, l)
	if exit := p.Exit(); !exit.TimedOut || exit.Signal == "" {
		t.Errorf("%+v", exit)
	}
}

func TestStop(t *testing.T) {
	p := start(t, launch(t, "sleep"))
	_ = p.Stop()
	_ = p.Stop() // once more does nothing
	if exit := p.Exit(); !exit.Canceled || exit.TimedOut {
		t.Errorf("%+v", exit)
	}
}

// The last word and the result arrive, an overlong line hangs nothing.
func TestProgress(t *testing.T) {
	exit := start(t, launch(t, "progress")).Exit()
	if string(exit.Result) != `{"n":1}` || string(exit.Failure) != `{"code":7}` || exit.Progress == nil || exit.Progress.Message != "end" || *exit.Progress.Percent != 99 {
		t.Errorf("result %s, failure %s, progress %+v", exit.Result, exit.Failure, exit.Progress)
	}
}

// A child has descriptors 0 to 3 only, and leads its session and group.
func TestIsolation(t *testing.T) {
	f, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil { // as if the daemon had inherited it
		t.Fatal(err)
	}
	CloseInherited()
	l := launch(t, "facts")
	start(t, l).Exit()
	out, err := os.ReadFile(l.OutputFile)
	if err != nil {
		t.Fatal(err)
	}
	// Descriptors above 3 are the Go runtime's own, close-on-exec in the child.
	if text := string(out); !strings.HasPrefix(text, "0 1 2 3 ") || !strings.HasSuffix(text, "true true\n") {
		t.Errorf("descriptors and session: %q", text)
	}
}

func TestStartErrors(t *testing.T) {
	l := launch(t, "exit")
	l.Argv = []string{"/nonexistent/program"}
	if _, err := Start(l, func(Update) {}); err == nil || !strings.Contains(err.Error(), "/nonexistent/program") {
		t.Errorf("missing program: %v", err)
	}
	l = launch(t, "exit")
	l.Dir = "/nonexistent"
	if _, err := Start(l, func(Update) {}); err == nil || !strings.Contains(err.Error(), "working directory /nonexistent") {
		t.Errorf("missing directory: %v", err)
	}
}

func TestParseLine(t *testing.T) {
	for line, want := range map[string]string{
		"42 text": "42 text", "42% text": "42 text", `{"percent":7,"message":"m"}`: "7 m",
		"pmstatus:nginx:20.5:Installing nginx": "20.5 Installing nginx", "dlstatus:1:3:Fetching": "3 Fetching",
		"hello": "", "142 text": "", "{": "", "": "", "NaN x": "",
	} {
		got := ""
		if u, ok := ParseLine([]byte(line)); ok {
			got = fmt.Sprint(*u.Percent, " ", u.Message)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	long := `{"error":"` + strings.Repeat("x", maxFailure) + `"}`
	for line, want := range map[string]string{`{"error": {"code": 7}}`: `{"code":7}`, `{"error":"text"}`: `"text"`, long: ""} {
		if u, _ := ParseLine([]byte(line)); string(u.Failure) != want {
			t.Errorf("%.60q: failure %s, want %s", line, u.Failure, want)
		}
	}
	// A result is data that others will read: what they could not read is dropped, and
	// the job says so. A reason is for people.
	for line, want := range map[string]string{
		`{"result": {"a": "ü"} }`: `{"a":"ü"}|`, `{"result":null}`: `null|`, `{"result":"\ud83d\ude00"}`: `"\ud83d\ude00"|`,
		"{\"result\":\"\xe9\"}":                               "|its result was dropped: its line: is not UTF-8 at byte 11",
		`{"result":"\ud800"}`:                                 `|its result was dropped: its line: \ud800 is half of a surrogate pair`,
		`{"result":{"a":1,"a":2}}`:                            `|its result was dropped: its line: name "a" twice in "$.result"`,
		`{"result":"` + strings.Repeat("x", maxResult) + `"}`: "|its result was dropped: longer than 65536 bytes",
	} {
		u, _ := ParseLine([]byte(line))
		if got := string(u.Result) + "|" + u.Message; got != want {
			t.Errorf("%.60q: %q, want %q", line, got, want)
		}
	}
	if u, _ := ParseLine([]byte("{\"error\":\"caf\xe9\"}")); string(u.Failure) != "\"caf\ufffd\"" {
		t.Errorf("a reason that is not UTF-8: %q", u.Failure)
	}
	if u, ok := ParseNotify("STATUS=half\nX_PROGRESS=50\nEXTEND_TIMEOUT_USEC=2000000\n"); !ok || u.Message != "half" || *u.Percent != 50 || u.ExtendTimeout != 2*time.Second {
		t.Errorf("notify: %+v", u)
	}
}

func FuzzProgress(f *testing.F) {
	f.Add([]byte("42 text\n{\"result\":1}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r report
		r.feed(b)
		if len(r.line) > maxLine {
			t.Errorf("%d bytes are kept", len(r.line))
		}
	})
}
