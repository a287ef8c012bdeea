package client

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/peer"
)

// slowTime is how long an answer may take before Waiting is told.
const slowTime = 2 * time.Second

// forEver is the wait of a request that is answered whenever a job ends.
const forEver time.Duration = -1

// longest is a wait above which nothing is timed: a sum with it would overflow.
const longest = 365 * 24 * time.Hour

// watch looks after one request without an answer: it tells that the program
// waits, and ends the request when the client's Timeout is over.
type watch struct {
	slow, over *time.Timer // nil = none
	cancel     context.CancelCauseFunc
}

// watch begins to look after a request that asks the daemon to wait this long
// before it answers. Without a Timeout the request has its caller's context: one of
// its own would have to be canceled at the end, and net/http, which may see that
// before it has put the connection aside, would close it.
func (c *Client) watch(ctx context.Context, r request) (context.Context, *watch) {
	w := &watch{cancel: func(error) {}}
	if r.waits == forEver || r.waits > longest {
		return ctx, w
	}
	if c.Waiting != nil {
		w.slow = time.AfterFunc(r.waits+slowTime, func() { c.tellWaiting(c.silence()) })
	}
	if c.Timeout > 0 {
		ctx, w.cancel = context.WithCancelCause(ctx)
		w.over = time.AfterFunc(r.waits+c.Timeout, func() {
			w.cancel(ipc.NoAnswer(c.socket(), c.silence(), r.waits+c.Timeout, r.changes()))
		})
	}
	return ctx, w
}

// answered ends the watch. What is read of the answer is not bounded any more.
func (w *watch) answered() {
	if w.slow != nil {
		w.slow.Stop()
	}
	if w.over != nil {
		w.over.Stop()
	}
}

// watchedBody is an answer's body whose end ends its request's context.
type watchedBody struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

// Close is io.Closer's.
func (b watchedBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(context.Canceled)
	return err
}

// tellWaiting tells the program that it waits, once until an answer comes.
func (c *Client) tellWaiting(why string) {
	if c.Waiting != nil && !c.told.Swap(true) {
		c.Waiting(why)
	}
}

// silence says what the daemon does instead of an answer, as far as the kernel
// tells.
func (c *Client) silence() string {
	return peer.Silence(!c.refusing.Load(), int(c.server.Load()), c.socket())
}

// dialSocket connects to the daemon's socket, and asks the kernel who serves it
// before a byte is sent.
func (c *Client) dialSocket(ctx context.Context) (net.Conn, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	server, err := peer.OfConn(conn.(*net.UnixConn))
	if err == nil {
		c.server.Store(int64(server.PID))
		err = peer.Trusted(server, c.socket(), c.ServerUser)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// connect waits while the socket's backlog is full: connect(2) of a Unix socket
// that does not block says EAGAIN then.
func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	var p backoff
	for {
		conn, err := d.DialContext(ctx, "unix", c.socket())
		full := errors.Is(err, syscall.EAGAIN)
		c.refusing.Store(full)
		if !full {
			return conn, err
		}
		if err := p.pause(ctx); err != nil {
			return nil, err
		}
	}
}
