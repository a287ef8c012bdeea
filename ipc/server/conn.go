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

// conn is an accepted connection. It knows its peer, it stops waiting for a peer
// that does not read, and it answers with problems where net/http by itself
// would answer in plain text or not at all.
type conn struct {
	net.Conn
	server    *Server
	peer      ipc.Peer
	err       error // why the kernel did not name the peer
	overLimit bool  // accepted above the limit: the guard refuses its requests
	closed    sync.Once

	// A request has two phases. Before it reaches the guard, what net/http writes
	// is its own refusal, and Write replaces it by a problem; from then on it is
	// the handler's answer, and Write changes no byte of it.
	received atomic.Bool // bytes of a request have arrived
	rejected atomic.Bool // a refusal was written in place of net/http's
	handling atomic.Bool // the guard has the request
}

// listener makes accepted connections conns, and refuses those above hardLimit.
type listener struct {
	net.Listener
	server *Server
}

// Accept is net.Listener's. It reads the credentials at once: they are those of
// the process that connected.
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

// reject answers a connection without reading its request, and closes it.
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

// Read is net.Conn's. It answers a request whose header does not end within its
// time: net/http only closes the connection.
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

// Write is net.Conn's. It replaces net/http's refusals by problems.
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

// write writes, and bounds how long the peer may take to read.
func (c *conn) write(b []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.server.opts.Times.Write))
	n, err := c.Conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.server.countRefusal(ipc.KindRequestTimeout)
	}
	return n, err
}

type peerKey struct{}

// connContext puts the connection into the context of its requests.
func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, c)
}

// connState begins a connection's next request. net/http calls it when the
// connection becomes idle.
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

// peerOf is the process that sent a request, or an error where the kernel did not
// name it.
func peerOf(ctx context.Context) (ipc.Peer, error) {
	c, ok := connOf(ctx)
	if !ok || c.err != nil {
		return ipc.Peer{}, ipc.Errorf(ipc.KindForbidden, "the kernel does not say who you are")
	}
	return c.peer, nil
}
