package cli

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// hears is the side of a service manager: the datagrams of sd_notify(3).
type hears struct {
	t    *testing.T
	conn *net.UnixConn
	path string
}

func newHears(t *testing.T) *hears {
	t.Helper()
	conn, path := box.Datagrams(t)
	return &hears{t: t, conn: conn, path: path}
}

// env is what the manager gives the daemon, with a watchdog of a quarter second.
func (h *hears) env(cmd *exec.Cmd) {
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+h.path, "WATCHDOG_USEC=250000")
}

// next gives the assignments of the next datagram.
func (h *hears) next() []string {
	h.t.Helper()
	buf := make([]byte, 4096)
	n, err := h.conn.Read(buf)
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.Split(string(buf[:n]), "\n")
}

// until reads datagrams up to the one with an assignment that starts so.
func (h *hears) until(prefix string) []string {
	h.t.Helper()
	for {
		got := h.next()
		if slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, prefix) }) {
			return got
		}
	}
}

// silent returns when nothing has come for a while. It fails on a sender that
// does not stop, and on no machine for being slow: whoever was late is waited for.
func (h *hears) silent(long time.Duration) {
	h.t.Helper()
	defer func() { _ = h.conn.SetReadDeadline(time.Time{}) }()
	buf := make([]byte, 4096)
	for range 1000 {
		_ = h.conn.SetReadDeadline(time.Now().Add(long))
		if _, err := h.conn.Read(buf); err != nil {
			return
		}
	}
	h.t.Error("what is frozen goes on sending")
}

// The service manager is told that the daemon is ready when its socket answers,
// what it does, that it reloads, that it lives and that it stops.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	h := newHears(t)
	b := newBox(t, map[string]string{"op": `script = "read x < $BOX/gate"` + "\n"}, h.env)
	if got := h.until("READY=1"); !slices.Contains(got, "STATUS=idle; 1 dispatcher") {
		t.Errorf("ready with %q", got)
	}
	if _, err := b.Client.Health(t.Context()); err != nil {
		t.Errorf("ready, and does not answer: %v", err)
	}
	h.until("WATCHDOG=1")
	gate, id := b.Gated("gate", "op")
	h.until("STATUS=running op; 1 dispatcher")
	_ = gate.Close()
	b.Await(id)
	h.until("STATUS=idle")

	b.Write("dispatchers.d/bad.toml", "scrpt = 1\n")
	if err := b.Life.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if got := h.until("RELOADING=1"); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "MONOTONIC_USEC=") }) {
		t.Errorf("reloads with %q", got)
	}
	h.until("READY=1")
	if d, err := b.Client.Dispatcher(t.Context(), "bad"); err != nil || d.State != ipc.DispatcherDisabled {
		t.Errorf("after SIGHUP: %+v, %v", d, err)
	}

	if err := b.Life.Cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	if got := h.until("READY=1"); !slices.Contains(got, "STATUS=idle; 1 dispatcher; 1 faulty: run dispatchctl doctor") {
		t.Errorf("ready after an upgrade with %q", got)
	}
	h.until("WATCHDOG=1")
	b.Stop()
	h.until("STOPPING=1")
}

// A daemon that is stopped in the middle of everything answers no watchdog.
func TestWatchdogOfAFrozenDaemon(t *testing.T) {
	t.Parallel()
	h := newHears(t)
	b := newBox(t, map[string]string{"op": "script = 'true'\n"}, h.env)
	h.until("WATCHDOG=1")
	_ = b.Life.Cmd.Process.Signal(syscall.SIGSTOP)
	h.silent(time.Second)
	_ = b.Life.Cmd.Process.Signal(syscall.SIGCONT)
	h.until("WATCHDOG=1")
}

// --ready-fd: one newline when the socket answers, then the end; an upgraded
// program does not have the descriptor, and does not want it.
func TestReadyFD(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	b := newBox(t, map[string]string{"op": "script = 'true'\n"}, func(cmd *exec.Cmd) {
		cmd.ExtraFiles = []*os.File{w}
		cmd.Args = append(cmd.Args, "--ready-fd", "3")
	})
	_ = w.Close()
	br := bufio.NewReader(r)
	if line, err := br.ReadString('\n'); line != "\n" || err != nil {
		t.Fatalf("read %q, %v", line, err)
	}
	if _, err := b.Client.Health(t.Context()); err != nil {
		t.Errorf("ready, and does not answer: %v", err)
	}
	if rest, err := br.ReadString('\n'); rest != "" || err == nil {
		t.Errorf("then %q, %v", rest, err)
	}
	upgraded(b)
	b.Await(b.Notify("op", "").ID)
	if _, stderr, code := b.Run("dispatchd", "--root", b.Dir, "--ready-fd", "77"); code != ipc.ExitUsage || !strings.Contains(stderr, "--ready-fd 77") {
		t.Errorf("a descriptor that is none: %d, %s", code, stderr)
	}
}

// A service manager's socket: who came before the daemon is answered, its file
// outlives the daemon, and an upgraded program goes on with it.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	b := box.New(t, map[string]string{"op": "script = 'true'\n"})
	if err := os.Mkdir(b.Path("run"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := b.Client.Socket
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	defer func() { _ = l.Close() }()
	socket, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	b.Prepare = func(cmd *exec.Cmd) { activate(cmd, socket) }

	early := make(chan error, 1)
	go func() { _, err := b.Client.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "op"}); early <- err }()
	b.Start()
	if err := <-early; err != nil {
		t.Errorf("who came before the daemon: %v", err)
	}
	upgraded(b)
	b.Await(b.Notify("op", "").ID)
	b.Stop()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the manager's socket after a stop: %v", err)
	}
	b.Start()
	b.Await(b.Notify("op", "").ID)
	b.Stop()
}

// activate hands a socket over as systemd does. The process's own number is not
// known before it is there, so a shell says it.
func activate(cmd *exec.Cmd, socket *os.File) {
	args := slices.Clone(cmd.Args)
	cmd.Path = "/bin/sh"
	cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"`, "sh"}, args...)
	cmd.ExtraFiles = []*os.File{socket}
}

// upgraded has the daemon become its own program again, and waits for it.
func upgraded(b *box.Box) {
	b.T.Helper()
	u, err := b.Client.Upgrade(b.T.Context())
	if err != nil {
		b.T.Fatal(err)
	}
	for {
		s, err := b.Client.Status(b.T.Context())
		if err == nil && !s.StartedAt.Equal(u.StartedAt) {
			return
		}
		if err != nil && errors.Is(err, b.T.Context().Err()) {
			b.T.Fatal(err)
		}
	}
}

// A daemon whose log nobody reads any more goes on: a supervisor that is told to
// stop may leave first, and the stop is to be orderly.
func TestLogReaderLeaves(t *testing.T) {
	t.Parallel()
	b := box.New(t, map[string]string{"op": "script = 'true'\n"})
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(box.Program(t, "dispatchd"), "--root", b.Dir)
	daemon.Stderr = write
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	for said := bufio.NewScanner(read); said.Scan() && !strings.Contains(said.Text(), "msg=ready"); {
	}
	_ = read.Close()
	if _, err := b.Client.Reload(t.Context(), false); err != nil { // it logs something
		t.Errorf("without a reader of its log: %v", err)
	}
	_ = daemon.Process.Signal(syscall.SIGTERM)
	if err := daemon.Wait(); err != nil {
		t.Errorf("without a reader of its log it stopped with: %v", err)
	}
}
