// Package harness has what tests of real programs share: a daemon that gets
// ready, a client that notifies as dispatch-notify does, a program's outputs.
package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dispatchd/ipc"
	"dispatchd/ipc/notify"
)

// Start starts a daemon and returns when its log says that it is ready.
func Start(t testing.TB, daemon *exec.Cmd) {
	t.Helper()
	stderr, err := daemon.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(stderr)
	var said strings.Builder
	for {
		line, err := r.ReadString('\n')
		said.WriteString(line)
		if strings.Contains(line, "msg=ready") {
			break
		}
		if err != nil {
			t.Fatalf("the daemon did not get ready:\n%s", said.String())
		}
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
}

// Datagrams is a socket that takes datagrams, as service managers and syslogd
// have one, and its path.
func Datagrams(t testing.TB) (*net.UnixConn, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "datagrams-") // a socket's path is short
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

// Output runs a program and gives its outputs and exit code.
func Output(t testing.TB, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return out.String(), talk.String(), cmd.ProcessState.ExitCode()
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
