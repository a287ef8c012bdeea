package main

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"syscall"
	"time"
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
