package client

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/peer"
)

// bound is a socket that nobody listens on yet.
func bound(t *testing.T) (fd int, socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cli")
	if err != nil {
		t.Fatal(err)
	}
	fd, err = syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Close(fd)
		_ = os.RemoveAll(dir)
	})
	socket = filepath.Join(dir, "s")
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: socket}); err != nil {
		t.Fatal(err)
	}
	return fd, socket
}

// deaf listens and never accepts, as a daemon does that was stopped: the kernel
// accepts for it, as many as backlog says.
func deaf(t *testing.T, backlog int) (socket string) {
	t.Helper()
	fd, socket := bound(t)
	if err := syscall.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	return socket
}

// A daemon that accepts and does not answer is told after 2 s, and given up after
// Timeout: by whom, and what that process does.
func TestSilentDaemon(t *testing.T) {
	socket := deaf(t, 10)
	told := make(chan string, 10)
	c := &Client{Socket: socket, Timeout: slowTime + 200*time.Millisecond, Waiting: func(why string) { told <- why }}
	defer c.Close()
	_, err := c.Status(t.Context())
	p := wantKind(t, err, ipc.KindNoAnswer, "accepted the connection and does not answer")
	me := "process " + strconv.Itoa(os.Getpid())
	if runtime.GOOS == "linux" && (!strings.Contains(p.Detail, me) || !strings.Contains(p.Detail, "state ")) {
		t.Errorf("it does not say who: %s", p.Detail)
	}
	if p.Kind.ExitCode() != ipc.ExitNoDaemon || strings.Contains(p.Suggestion, "not known whether") || c.Unanswered() {
		t.Errorf("of a read: exit %d, %q, unanswered %v", p.Kind.ExitCode(), p.Suggestion, c.Unanswered())
	}
	if why := next(t, told, "that it waits"); !strings.Contains(why, "does not answer") {
		t.Errorf("told %q", why)
	}
	c.Timeout = 50 * time.Millisecond
	_, err = c.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "d"})
	if p := wantKind(t, err, ipc.KindNoAnswer, "within 50ms"); !strings.Contains(p.Suggestion, "not known whether") || !c.Unanswered() {
		t.Errorf("of a notify: %q, unanswered %v", p.Suggestion, c.Unanswered())
	}
	if len(told) != 0 {
		t.Errorf("told once more: %q", <-told)
	}
}

// Where even the backlog is full, a client waits for room instead of failing with
// EAGAIN, and says so.
func TestFullBacklog(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("connect(2) answers ECONNREFUSED where the backlog is full")
	}
	socket := deaf(t, 0)
	for range 2 { // one is in the backlog, the next finds it full
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Close(fd) }()
		_ = syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket})
	}
	c := &Client{Socket: socket, Timeout: 300 * time.Millisecond}
	_, err := c.Status(t.Context())
	p := wantKind(t, err, ipc.KindNoAnswer, "accepts no connections")
	if !strings.Contains(p.Detail, "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("it does not say who: %s", p.Detail)
	}
}

// A request that asks the daemon to wait may take that long on top.
func TestWaitsAreNotSilence(t *testing.T) {
	_, c := newDaemon(t, func(w http.ResponseWriter, _ *http.Request) {
		timer := time.NewTimer(300 * time.Millisecond)
		defer timer.Stop()
		<-timer.C
		_, _ = w.Write([]byte("{}"))
	})
	c.Timeout = 50 * time.Millisecond
	if _, err := c.Drain(t.Context(), true, time.Minute); err != nil {
		t.Error(err)
	}
	_, err := c.Drain(t.Context(), true, 0)
	_ = wantKind(t, err, ipc.KindNoAnswer, "50ms")
}

// A wait for a job gives up with the job's id where no daemon comes back in time.
func TestAwaitGivesUp(t *testing.T) {
	d, c := newDaemon(t, says(200, running()))
	c.Timeout = 100 * time.Millisecond
	if _, err := c.Job(t.Context(), "01J"); err != nil {
		t.Fatal(err)
	}
	d.stop()
	for name, wait := range map[string]func(context.Context, string) (ipc.Job, error){"Await": c.Await, "Hold": c.Hold} {
		_, err := wait(t.Context(), "01J")
		if p := wantKind(t, err, ipc.KindUnavailable, ""); p.Job != "01J" || !strings.Contains(p.Suggestion, "is accepted") {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// Who serves the socket is asked before a byte is sent.
func TestStrangerIsRefused(t *testing.T) {
	if os.Geteuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("only root can play a stranger")
	}
	socket := strange(t)
	c := &Client{Socket: socket}
	defer c.Close()
	_, err := c.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "d", Arguments: []byte(`"password"`)})
	p := wantKind(t, err, ipc.KindForbidden, "served by uid 65534")
	if p.Kind.ExitCode() != ipc.ExitForbidden || !strings.Contains(p.Suggestion, peer.ServerUserEnv) || c.Unanswered() {
		t.Errorf("%+v, unanswered %v", p, c.Unanswered())
	}
	t.Setenv(peer.ServerUserEnv, "nobody")
	c.Timeout = 50 * time.Millisecond
	_, err = c.Status(t.Context())
	_ = wantKind(t, err, ipc.KindNoAnswer, "accepted")
}

// strange is a socket on which another user listens. listen(2) notes the
// credentials of its thread: one thread of this test becomes nobody for it, and
// ends with its goroutine.
func strange(t *testing.T) string {
	t.Helper()
	fd, socket := bound(t)
	listens := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		const nobody, same = 65534, ^uintptr(0)
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, same, nobody, same); errno != 0 {
			listens <- errno
			return
		}
		listens <- syscall.Listen(fd, 10)
	}()
	if err := <-listens; err != nil {
		t.Fatal(err)
	}
	return socket
}
