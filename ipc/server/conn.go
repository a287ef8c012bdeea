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
	server *Server
	peer   ipc.Peer
	err    error // why the peer is not known
	excess bool  // accepted beyond the limit: its requests are refused
	closed sync.Once

	// A request goes through two phases. Until the guard has it, what is
	// written is net/http's own complaint; from then on it is the answer, and
	// not a byte of it is touched.
	heard    atomic.Bool // bytes of a request have come
	answered atomic.Bool // the complaint was written here
	handling atomic.Bool // the guard has it
}

// wrap makes the listener's connections conns, and refuses those beyond all
// bounds.
type wrap struct {
	net.Listener
	server *Server
}

// Accept is net.Listener's. The credentials are read at once, while they are
// certainly the peer's.
func (l wrap) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		open := l.server.retire.opened()
		w := &conn{Conn: c, server: l.server, excess: open > l.server.opts.MaxConns}
		if open > l.server.mostConns() {
			w.turnAway()
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

// turnAway answers a connection that nobody will read from.
func (c *conn) turnAway() {
	p := c.server.tooMany()
	c.server.count(p.Kind)
	_, _ = c.Write(raw(p))
	_ = c.Close()
}

// Close is net.Conn's.
func (c *conn) Close() error {
	c.closed.Do(c.server.retire.closed)
	return c.Conn.Close()
}

// Read is net.Conn's. A request whose header does not come to its end is
// answered here: net/http only closes the connection.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard.Store(true)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && c.heard.Load() && !c.handling.Load() && !c.answered.Swap(true) {
		p := ipc.Errorf(ipc.KindRequestTimeout, "the request's header did not come to its end within %v", c.server.opts.Times.Header)
		c.server.count(p.Kind)
		_, _ = c.write(raw(p))
	}
	return n, err
}

// Write is net.Conn's.
func (c *conn) Write(b []byte) (int, error) {
	if c.handling.Load() {
		return c.write(b)
	}
	if c.answered.Swap(true) {
		return len(b), nil
	}
	out := b
	if p := complaint(b); p != nil {
		c.server.count(p.Kind)
		out = raw(p)
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
		c.server.count(ipc.KindRequestTimeout)
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
		c.heard.Store(false)
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
