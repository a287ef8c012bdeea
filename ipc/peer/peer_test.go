package peer

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
)

func TestTrusted(t *testing.T) {
	me := os.Geteuid()
	for _, c := range []struct {
		name   string
		uid    int
		env    string
		wanted bool
	}{
		{"root", 0, "", true},
		{"myself", me, "", true},
		{"a stranger", 4242, "", false},
		{"the named user", 4242, "4242", true},
		{"another than the named user", 4243, "4242", false},
		{"root, whoever is named", 0, "4242", true},
		{"a stranger, root is named", 4242, "root", false},
		{"a stranger, and a name of nobody", 4242, "no such user", false},
		{"a stranger, and a number that is none", 4242, "-1", false},
		{"a stranger, and too large a number", 4242, "4294971538", false},
	} {
		t.Setenv(ServerUserEnv, c.env)
		err := Trusted(ipc.Peer{UID: c.uid, PID: 7}, "/s", "")
		if (err == nil) != c.wanted {
			t.Errorf("%s: %v", c.name, err)
		}
		if p, typed := errors.AsType[*ipc.Error](err); err != nil && (!typed || p.Kind != ipc.KindForbidden || p.Suggestion == "") {
			t.Errorf("%s: %#v", c.name, err)
		}
	}
	t.Setenv(ServerUserEnv, "root")
	if err := Trusted(ipc.Peer{UID: 4242}, "/s", "4242"); err != nil {
		t.Errorf("named by the program: %v", err)
	}
	if uid, ok := userID("root"); !ok || uid != 0 {
		t.Errorf("root is %d, %v", uid, ok)
	}
}

func TestOfSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	p, err := OfConn(c)
	if err != nil || p.UID != os.Geteuid() || p.PID != os.Getpid() {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := OfSocket(-1); err == nil {
		t.Error("no error for no socket")
	}
	if runtime.GOOS == "linux" {
		if s, ok := server(1, path); !ok || s.PID != os.Getpid() {
			t.Errorf("behind a service manager: %+v, %v", s, ok)
		}
	}
	if _, ok := server(0, path+"x"); ok {
		t.Error("found who serves no socket")
	}
}

func TestLook(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the state of a process is in no file here")
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	child := exec.Command(sleep, "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	p := Look(child.Process.Pid)
	for p.State != 'T' { // the signal is on its way
		runtime.Gosched()
		p = Look(child.Process.Pid)
	}
	if p.Name != "sleep" || time.Since(p.Started) > time.Hour {
		t.Errorf("%+v", p)
	}
	text := p.String()
	if !strings.Contains(text, "process "+strconv.Itoa(child.Process.Pid)+" (sleep), state T (stopped") {
		t.Error(text)
	}
	if got := Name(child.Process.Pid); got != p.Name || Name(1<<30) != "" {
		t.Errorf("its name alone is %q", got)
	}
	if got := Look(1 << 30); got.State != 0 || got.String() != "process "+strconv.Itoa(1<<30) {
		t.Errorf("of no process: %+v", got)
	}
	since := Process{PID: 7, State: 'S', LastRan: time.Now()}
	if !strings.Contains(since.String(), "state S (sleeps) since 2") {
		t.Error(since.String())
	}
}
