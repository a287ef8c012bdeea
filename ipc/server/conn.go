package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"dispatchd/ipc"
)

// conn is an accepted connection. It knows its peer, it gives up on a peer that
// does not read, and it answers in problems where net/http by itself would
// answer in plain text or not at all.
type conn struct {
	net.Conn
	server    *Server
	peer      ipc.Peer
	err       error // why the peer is not known
	overLimit bool  // accepted beyond the limit: its requests are refused
	closed    sync.Once

	// A request goes through two phases. Until the guard has it, what is
	// written is net/http's own complaint; from then on it is the answer, and
	// not a byte of it is touched.
	received atomic.Bool // bytes of a request have come
	rejected atomic.Bool // the complaint was written here
	handling atomic.Bool // the guard has it
}

// listener makes the listener's connections conns, and refuses those beyond all
// bounds.
type listener struct {
	net.Listener
	server *Server
}

// Accept is net.Listener's. The credentials are read at once, while they are
// certainly the peer's.
func (l listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		open := l.server.conns.opened()
		w := &conn{Conn: c, server: l.server, overLimit: open > l.server.opts.MaxConns}
		if open > l.server.hardLimit() {
			w.reject()
			continue
		}
		if u, ok := c.(*net.UnixConn); ok {
			w.peer, w.err = credentials(u)
		} else {
			w.err = errors.ErrUnsupported
		}
		return w, nil
	}
}

// reject answers a connection that nobody will read from.
func (c *conn) reject() {
	p := c.server.tooManyConns()
	c.server.countRefusal(p.Kind)
	_, _ = c.Write(rawProblem(p))
	_ = c.Close()
}

// Close is net.Conn's.
func (c *conn) Close() error {
	c.closed.Do(c.server.conns.closed)
	return c.Conn.Close()
}

// Read is net.Conn's. A request whose header does not come to its end is
// answered here: net/http only closes the connection.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.received.Store(true)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && c.received.Load() && !c.handling.Load() && !c.rejected.Swap(true) {
		p := ipc.Errorf(ipc.KindRequestTimeout, "the request's header did not come to its end within %v", c.server.opts.Times.Header)
		c.server.countRefusal(p.Kind)
		_, _ = c.write(rawProblem(p))
	}
	return n, err
}

// Write is net.Conn's.
func (c *conn) Write(b []byte) (int, error) {
	if c.handling.Load() {
		return c.write(b)
	}
	if c.rejected.Swap(true) {
		return len(b), nil
	}
	out := b
	if p := protocolError(b); p != nil {
		c.server.countRefusal(p.Kind)
		out = rawProblem(p)
	}
	if _, err := c.write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// write bounds how long a peer may take to read.
func (c *conn) write(b []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.server.opts.Times.Write))
	n, err := c.Conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.server.countRefusal(ipc.KindRequestTimeout)
	}
	return n, err
}

type peerKey struct{}

// connContext carries the connection to its requests.
func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, c)
}

// connState tells a connection that the next request may come.
func connState(nc net.Conn, state http.ConnState) {
	if c, ok := nc.(*conn); ok && state == http.StateIdle {
		c.received.Store(false)
		c.handling.Store(false)
	}
}

// connOf is a request's connection.
func connOf(ctx context.Context) (*conn, bool) {
	c, ok := ctx.Value(peerKey{}).(*conn)
	return c, ok
}

// peerOf is who sent a request, an error where the kernel did not say.
func peerOf(ctx context.Context) (ipc.Peer, error) {
	c, ok := connOf(ctx)
	if !ok || c.err != nil {
		return ipc.Peer{}, ipc.Errorf(ipc.KindForbidden, "the kernel does not say who you are")
	}
	return c.peer, nil
}
