package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"dispatchd/ipc/client"
)

// server is a running server program.
type server struct {
	cmd    *exec.Cmd
	socket string
}

// startTime bounds how long a server takes to listen.
const startTime = 10 * time.Second

// await returns when the socket takes connections.
func (s *server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("unix", s.socket); err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("it does not listen")
		}
	}
}

// stop ends the server and waits for it.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(startTime, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait()
	late.Stop()
}

// box is a private root with a daemon in it.
type box struct {
	*server
	root   string
	client *client.Client
}

// openBox writes settings and definitions and starts a daemon.
func (l *lab) openBox(ctx context.Context, settings string, files map[string]string) (*box, error) {
	root, err := os.MkdirTemp(l.dir, "box-")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(root, "dispatchers.d"), 0o755); err != nil {
		return nil, err
	}
	texts := map[string]string{"dispatchd.toml": settings}
	for name, text := range files {
		texts["dispatchers.d/"+name+".toml"] = text
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(filepath.Join(root, "run"), 0o755); err != nil {
		return nil, err
	}
	socket := filepath.Join(root, "run", "control.sock")
	s, err := l.serve(ctx, "daemon", socket, "--root", root)
	if err != nil {
		return nil, err
	}
	b := &box{server: s, root: root, client: &client.Client{Socket: socket}}
	if _, err := b.client.Health(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// close ends the daemon and removes its root.
func (b *box) close() {
	b.stop()
	_ = os.RemoveAll(b.root)
}

// request is a notify on the wire, on a connection that is kept.
func request(name, body string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "POST /v1/dispatchers/%s/notify HTTP/1.1\r\nHost: dispatchd\r\n", name)
	fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return []byte(b.String())
}
