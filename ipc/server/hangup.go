package server

import (
	"context"
	"errors"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// answering reports whether a whole request has come and is answered now. What
// ends then is the peer's input, and not its interest: nc and socat close their
// sending side behind the request and read on.
func (c *conn) answering() bool {
	return c.state.Load() == stateRequest && (c.framing.whole() || c.handling.Load() && c.framing.phase == opaque && c.bodyRead.Load())
}

// untilHangup notes that the input has ended, and returns when the peer has closed
// all of the connection, or net/http has no more use for the read. The kernel tells
// the two apart: POLLHUP comes with the second alone (poll(2)).
func (c *conn) untilHangup() error {
	c.overOnce.Do(func() { close(c.over) })
	raw, ok := c.Conn.(syscall.Conn)
	if !ok {
		return io.EOF
	}
	rc, err := raw.SyscallConn()
	if err != nil {
		return err
	}
	if err := rc.Read(func(fd uintptr) bool { return hungUp(int(fd)) }); err != nil {
		return err // the deadline by which net/http ends a read
	}
	return io.EOF
}

// hungUp reports whether the peer has closed both directions.
func hungUp(fd int) bool { return ready(fd, 0) != 0 }

// hasInput reports whether there is something to be read.
func (c *conn) hasInput() bool {
	raw, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	has := false
	err = rc.Control(func(fd uintptr) { has = ready(int(fd), unix.POLLIN) == unix.POLLIN })
	return err == nil && has
}

// ready gives which of the events a descriptor has, errors and hang-ups included. It
// does not wait.
func ready(fd int, events int16) int16 {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	n, err := unix.Poll(fds, 0)
	switch {
	case errors.Is(err, unix.EINTR):
		return ready(fd, events)
	case err != nil:
		return unix.POLLERR
	case n == 0:
		return 0
	}
	return fds[0].Revents
}

// untilInputEnds is a context that ends with the client's sending side, too.
func untilInputEnds(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	c, ok := connOf(ctx)
	if !ok || c.over == nil {
		return ctx, cancel
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-c.over:
			cancel()
		case <-done:
		case <-ctx.Done():
		}
	}()
	return ctx, func() { close(done); cancel() }
}
