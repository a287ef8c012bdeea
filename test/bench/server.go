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
	ended  chan struct{} // closed when the program is gone
}

// watchServer waits for a program's end beside everything else.
func watchServer(cmd *exec.Cmd, socket string) *server {
	s := &server{cmd: cmd, socket: socket, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		_ = cmd.Wait() // a server is ended by a signal
	}()
	return s
}

// await returns when the socket takes connections. It looks each millisecond,
// for a restart is timed by it.
func (s *server) await(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("unix", s.socket); err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return errors.New("it ended before it listened")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stop ends the server and waits for it.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.ended
}
