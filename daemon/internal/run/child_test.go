package run

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/launch"
	"dispatchd/daemon/internal/proc"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// The children here are real: direct ones, and supervised ones whose supervisor is
// this test's program.

// supervisor is the argv of the supervisor.
func supervisor() []string { return []string{os.Args[0], "shim"} }

// begin runs an attempt in a goroutine of its own, until ctx is done, and gives a
// channel that is closed when Run has returned.
func (s *site) begin(ctx context.Context, a *Attempt) <-chan struct{} {
	over := make(chan struct{})
	go func() { s.Run(ctx, a, recorded(), s); close(over) }()
	return over
}

// running waits for an attempt's child, and attaches it.
func (s *site) running(a *Attempt) Child {
	s.t.Helper()
	select {
	case c := <-s.children:
		if err := a.Attach(c); err != nil {
			s.t.Fatal(err)
		}
		return c
	case err := <-s.refusals:
		s.t.Fatal(err)
	case res := <-s.results:
		s.t.Fatalf("it has ended: %+v", res)
	}
	return nil
}

// verdict waits for an attempt's end, and judges it.
func (s *site) verdict(a *Attempt) string {
	s.t.Helper()
	select {
	case err := <-s.refusals:
		s.t.Fatal(err)
	case res := <-s.results:
		state, out := res.Judge(a.Spec, Cause{Canceled: a.Canceled()})
		if out.Error != nil {
			return string(state) + ": " + out.Error.Message
		}
		return string(state)
	}
	return ""
}

// gate makes a named pipe at which scripts wait, and gives a function that lets
// one of them go on.
func (s *site) gate() (path string, open func()) {
	s.t.Helper()
	path = filepath.Join(s.root, "gate")
	if err := unix.Mkfifo(path, 0o666); err != nil {
		s.t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0) // open for both, a write waits for nobody
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = f.Close() })
	return path, func() {
		s.t.Helper()
		if _, err := f.WriteString("go\n"); err != nil {
			s.t.Fatal(err)
		}
	}
}

// says waits until a job says something of itself.
func (s *site) says(message string) {
	s.t.Helper()
	for {
		select {
		case u := <-s.updates:
			if u.Message == message {
				return
			}
		case res := <-s.results:
			s.t.Fatalf("it said no %q, and has ended: %+v", message, res)
		}
	}
}

// The two kinds of children do the same, as far as their jobs see.
func TestChildren(t *testing.T) {
	for name, start := range map[string]Starter{"direct": Supervised(nil), "supervised": Supervised(supervisor())} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, start)
			d := spec(`cat; echo " $DISPATCHD_ARG_N $DISPATCHD_ATTEMPT $(id -u)"; echo '{"result":{"ok":true}}' >&3; exit 3`)
			d.SurviveRestart = true
			a := s.attempt(d, 2, `{"n":1}`)
			over := s.begin(t.Context(), a)
			s.running(a)
			if got, want := s.verdict(a), "failed: exit status 3"; got != want {
				t.Errorf("%q, want %q", got, want)
			}
			<-over
			if got, want := s.log(a), fmt.Sprintf("{\"n\":1} 1 2 %d\n", os.Geteuid()); got != want {
				t.Errorf("it printed %q, want %q", got, want)
			}
			if h := s.holder(); h != "free" {
				t.Errorf("its lock: %s", h)
			}
			a.Files.Remove()
			if left := s.files(); left != "" {
				t.Errorf("left %s", left)
			}
		})
	}
}

// A command that moved to another directory of PATH, and an account that changed,
// while the attempt before ran: both count for the next one.
func TestDecidedAtTheStart(t *testing.T) {
	for name, start := range map[string]Starter{"direct": Supervised(nil), "supervised": Supervised(supervisor())} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, start)
			gate, open := s.gate()
			first, second := filepath.Join(s.root, "first"), filepath.Join(s.root, "second")
			d := spec("")
			d.Command, d.SurviveRestart = []string{"tool"}, true
			d.Environment = map[string]string{"PATH": first + ":" + second + ":/usr/bin:/bin", "GATE": gate}
			for _, dir := range []string{first, second} {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			tool := "#!/bin/sh\necho '1 up' >&3; read -r _ < \"$GATE\"; echo \"$0 $HOME $(id -G)\"\n"
			if err := os.WriteFile(filepath.Join(second, "tool"), []byte(tool), 0o755); err != nil {
				t.Fatal(err)
			}
			groups := s.account("/before", 64001, 64002)
			a := s.attempt(d, 1, "")
			over := s.begin(t.Context(), a)
			s.running(a)
			s.says("up")
			// While it runs, its dispatcher's next job waits, and things change.
			if err := os.Rename(filepath.Join(second, "tool"), filepath.Join(first, "tool")); err != nil {
				t.Fatal(err)
			}
			fewer := s.account("/after", 64001)
			open()
			if got := s.verdict(a); got != "succeeded" {
				t.Errorf("first: %s", got)
			}
			<-over
			b := s.attempt(d, 1, "")
			over = s.begin(t.Context(), b)
			s.running(b)
			open()
			if got := s.verdict(b); got != "succeeded" {
				t.Errorf("second: %s", got)
			}
			<-over
			for at, want := range map[*Attempt]string{a: second + "/tool /before " + groups, b: first + "/tool /after " + fewer} {
				if got := strings.TrimSpace(s.log(at)); got != want {
					t.Errorf("it was %q, want %q", got, want)
				}
			}
		})
	}
}

// account makes the next attempts run with a home and, where this process may give
// them, groups. It returns what id -G says then.
func (s *site) account(home string, groups ...uint32) string {
	s.t.Helper()
	is := launch.Account{Home: home, Name: "me"}
	var list strings.Builder
	fmt.Fprint(&list, os.Getegid())
	if proc.MayChangeUser() {
		is.Credential = &proc.Credential{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Groups: groups}
		for _, g := range groups {
			fmt.Fprint(&list, " ", g)
		}
	} else if own, err := os.Getgroups(); err == nil {
		for _, g := range own {
			if g != os.Getegid() {
				fmt.Fprint(&list, " ", g)
			}
		}
	}
	s.users.set(is)
	return list.String()
}

// In the foreground the child prints to our outputs and can be stopped; the files
// of its launch are gone afterwards.
func TestForeground(t *testing.T) {
	var asked proc.Launch
	s := newSite(t, func(q Request) (Child, error) {
		asked = q.Launch
		return Foreground(q)
	})
	s.Logs = nil
	gate, _ := s.gate()
	d := spec("read -r _ < " + gate)
	d.KillMode = mode.Tree
	a := s.attempt(d, 1, `{"n":1}`)
	over := make(chan struct{})
	go func() {
		defer close(over)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		s.Run(t.Context(), a, recorded(), s)
	}()
	c := s.running(a)
	if c.Supervised() || a.SurvivesDaemon() {
		t.Error("it survives")
	}
	if err := a.Cancel(); err != nil {
		t.Fatal(err)
	}
	if got := s.verdict(a); got != "canceled: canceled while it ran" {
		t.Error(got)
	}
	<-over
	// Its tree is named by its files: two in the foreground have two cgroups.
	if asked.Files != a.Files || asked.Files == "" || asked.OutputFile != "" {
		t.Errorf("asked for %+v", asked)
	}
	c.Leave()
	if left := s.files(); left != ".args" {
		t.Errorf("left %q", left)
	}
}

// Kill modes that follow a tree need a supervisor, and say so.
func TestNoSupervisor(t *testing.T) {
	s := newSite(t, Supervised(nil))
	d := spec("x")
	d.KillMode = mode.Tree
	a := s.attempt(d, 1, `{"n":1}`)
	<-s.begin(t.Context(), a)
	if got := s.verdict(a); !strings.Contains(got, "need a shim, and this program has none") {
		t.Error(got)
	}
	if left := s.files(); left != "" {
		t.Errorf("left %q", left)
	}
}

// A job whose program is not there has failed. One whose supervisor's program is not
// there, or is none, has not: it is put off.
func TestNoProgram(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("\x00\x01"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"", "/no/such/shim", garbage} {
		start := Supervised(nil)
		if program != "" {
			start = Supervised([]string{program})
		}
		s := newSite(t, start)
		d := spec("")
		d.Command, d.SurviveRestart = []string{"/no/such/program"}, true
		<-s.begin(t.Context(), s.attempt(d, 1, ""))
		select {
		case res := <-s.results:
			if state, out := res.Judge(d, Cause{}); program != "" || state != ipc.Failed || !strings.Contains(out.Error.Message, "/no/such/program") {
				t.Errorf("%q: %s %+v", program, state, out.Error)
			}
		case err := <-s.refusals:
			if program == "" || !proc.IsTransient(err) || proc.IsFull(err) || !strings.Contains(err.Error(), program) {
				t.Errorf("%q: put off: %v", program, err)
			}
		}
		if s.holder() != "free" {
			t.Errorf("%q: lock %s", program, s.holder())
		}
		if program != "" {
			s.unstarted()
		} else if left := s.files(); left != "" {
			t.Errorf("left %q", left)
		}
	}
}

// LocksIn are where everybody looks for them.
func TestLocksIn(t *testing.T) {
	if got := LocksIn(ipc.RootPaths("/r")); got != (LockDirs{Dispatchers: "/r/run/dispatchers", Named: "/r/run/locks"}) {
		t.Errorf("%+v", got)
	}
}
