// Package box is what tests of the real programs share. A Box is a private root
// with a daemon in it: its definitions, its client, its lives from start to stop
// or kill -9. A Process is any program that runs beside a test. Nothing here
// waits for a time: a test that hangs ends with go test's own -timeout, which
// shows where it stands, and no machine is too slow for the others.
package box

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/ipc/notify"
)

// Box is a private root, and the daemon that lives in it.
type Box struct {
	T       testing.TB
	Dir     string
	Client  *client.Client
	Program string          // the daemon
	Prepare func(*exec.Cmd) // what is done to its command, nil = nothing
	Life    *Process        // its present process, nil = there is none
}

// New makes a root with these definitions by name, in which $BOX is its
// directory. No daemon runs yet; whatever does at the test's end is killed.
func New(t testing.TB, definitions map[string]string) *Box {
	t.Helper()
	b := &Box{T: t, Program: filepath.Join(Programs(t), "dispatchd")}
	var err error
	if b.Dir, err = os.MkdirTemp("/tmp", "box-"); err != nil { // a socket's path is short
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(b.Dir) })
	b.Client = &client.Client{Socket: ipc.RootPaths(b.Dir).Socket()}
	if err := os.Mkdir(b.Path("dispatchers.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range definitions {
		b.Write("dispatchers.d/"+name+".toml", strings.ReplaceAll(text, "$BOX", b.Dir))
	}
	t.Cleanup(func() {
		if b.Life != nil {
			b.Kill()
		}
	})
	return b
}

// Path is a path in the box.
func (b *Box) Path(name string) string { return filepath.Join(b.Dir, name) }

// Write writes a file of the box, with the directories above it.
func (b *Box) Write(name, text string) {
	b.T.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(b.Path(name)), 0o755), os.WriteFile(b.Path(name), []byte(text), 0o644)); err != nil {
		b.T.Fatal(err)
	}
}

// Read reads a file of the box.
func (b *Box) Read(name string) string {
	b.T.Helper()
	text, err := os.ReadFile(b.Path(name))
	if err != nil {
		b.T.Fatal(err)
	}
	return string(text)
}

// Begin starts the daemon, under a tracer if one is named, and does not wait.
func (b *Box) Begin(tracer ...string) (*Process, error) {
	argv := append(tracer, b.Program, "--root", b.Dir)
	cmd := exec.Command(argv[0], argv[1:]...)
	if b.Prepare != nil {
		b.Prepare(cmd)
	}
	if a := cmd.SysProcAttr; a != nil && a.Credential != nil {
		b.Client.ServerUser = strconv.Itoa(int(a.Credential.Uid))
	}
	p, err := Begin(cmd)
	if err == nil {
		b.Life = p
	}
	return p, err
}

// Start starts the daemon and returns when it is ready.
func (b *Box) Start() {
	b.T.Helper()
	p, err := b.Begin()
	if err == nil {
		err = p.Up()
	}
	if err != nil {
		b.T.Fatal(err)
	}
}

// Stop ends the daemon in order, with status 0.
func (b *Box) Stop() {
	b.T.Helper()
	_ = b.Life.Cmd.Process.Signal(syscall.SIGTERM)
	if code := b.Life.Code(); code != 0 {
		b.T.Errorf("stop: %v\n%s", b.Life.Cmd.ProcessState, b.Life.Err)
	}
	b.Life = nil
}

// Kill ends the daemon as a crash does.
func (b *Box) Kill() {
	b.Life.Kill()
	b.Life = nil
}

// End cancels all jobs, waits until none is left, and stops the daemon.
func (b *Box) End() {
	b.T.Helper()
	if b.Life == nil {
		return
	}
	ctx := context.WithoutCancel(b.T.Context()) // a clean-up calls it
	for _, state := range []ipc.State{ipc.Queued, ipc.Running} {
		jobs, _ := b.Client.Jobs(ctx, ipc.JobFilter{State: state})
		for _, j := range jobs {
			_, _ = b.Client.Cancel(ctx, j.ID)
		}
	}
	for s, err := b.Client.Drain(ctx, true, time.Minute); err == nil && s.Queued+s.Running > 0; {
		s, err = b.Client.Drain(ctx, true, time.Minute)
	}
	b.Stop()
}

// Run runs a program of ours, or of the system, to its end with the box's
// socket, and gives its outputs and exit code.
func (b *Box) Run(program string, args ...string) (stdout, stderr string, code int) {
	b.T.Helper()
	if own := filepath.Join(Programs(b.T), program); !strings.Contains(program, "/") && exists(own) {
		program = own
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), ipc.SocketEnv+"="+b.Client.Socket, "DISPATCHD_SERVER_USER="+b.Client.ServerUser)
	stdout, stderr, code, err := Output(cmd)
	if err != nil {
		b.T.Fatal(err)
	}
	return stdout, stderr, code
}

// OrDefault is a flag's value, or where that is 0 the one for this length of run.
func OrDefault(n, normal, short int) int {
	switch {
	case n != 0:
		return n
	case testing.Short():
		return short
	}
	return normal
}

// Sample is how often a sweep does something: n times with the tag soak, else a
// tenth of them, always the same.
func Sample(n int) int {
	if Soak {
		return n
	}
	return n / 10
}

// exists reports whether there is a file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Notify asks for a run, which must be accepted.
func (b *Box) Notify(name, args string) ipc.Notified {
	b.T.Helper()
	n, err := b.Client.Notify(b.T.Context(), ipc.NotifyRequest{Dispatcher: name, Arguments: json.RawMessage(args)})
	if err != nil {
		b.T.Fatal(err)
	}
	return n
}

// Await waits for a job's end.
func (b *Box) Await(id string) ipc.Job {
	b.T.Helper()
	job, err := b.Client.Await(b.T.Context(), id)
	if err != nil {
		b.T.Fatal(err)
	}
	return job
}

// Gated asks for a job that reads a fifo of the box, and returns when it does;
// closing the file lets it go on.
func (b *Box) Gated(fifo, name string) (*os.File, string) {
	b.T.Helper()
	if err := syscall.Mkfifo(b.Path(fifo), 0o600); err != nil {
		b.T.Fatal(err)
	}
	n := b.Notify(name, "")
	f, err := os.OpenFile(b.Path(fifo), os.O_WRONLY, 0) // until somebody reads
	if err != nil {
		b.T.Fatal(err)
	}
	return f, n.ID
}

// Log is a job's whole output.
func (b *Box) Log(id string) string {
	b.T.Helper()
	out, stderr, code := b.Run("dispatchctl", "log", id)
	if code != 0 {
		b.T.Fatalf("log %s: exit %d, %s", id, code, stderr)
	}
	return out
}

// Post notifies by a connection of its own, as dispatch-notify does, and gives
// the job's id.
func Post(socket, name string) (string, error) {
	c, err := notify.Dial(socket)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	reply, err := notify.Post(c, notify.Request{Name: name})
	if err != nil {
		return "", err
	}
	var n ipc.Notified
	if reply.Status != http.StatusAccepted || json.Unmarshal(reply.Body, &n) != nil {
		return "", errors.New(string(reply.Body))
	}
	return n.ID, nil
}

// Datagrams is a socket that takes datagrams, as service managers and syslogd
// have one, and its path.
func Datagrams(t testing.TB) (*net.UnixConn, string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "box-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, path
}
