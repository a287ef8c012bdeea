package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/peer"
)

// conn is an accepted connection. It knows its peer, it stops waiting for a peer
// that does not read, it refuses what is not HTTP to the letter, and it answers
// with problems where net/http by itself would answer in plain text or not at all.
type conn struct {
	net.Conn
	server    *Server
	peer      ipc.Peer
	err       error // why the kernel did not name the peer
	overLimit bool  // accepted above the limit: the guard refuses what is not the daemon's own or root's
	closed    sync.Once
	framing   framing      // what was read; net/http reads on one goroutine at a time
	malformed atomic.Bool  // what comes next is not HTTP, and is refused once the request before it is done
	since     atomic.Int64 // UnixNano of the last change of state
	state     atomic.Int32
	waits     atomic.Bool   // its request waits for something that may take for ever
	over      chan struct{} // closed when the peer has closed its sending side behind a whole request
	overOnce  sync.Once

	// A request has two phases. Before it reaches the guard, what net/http writes
	// is its own refusal, and Write replaces it by a problem; from then on it is
	// the handler's answer, and Write changes no byte of it.
	bodyRead   atomic.Bool // and has read its body
	hadRequest atomic.Bool // one was answered
	rejected   atomic.Bool // a refusal was written in place of net/http's
	handling   atomic.Bool // the guard has the request
}

// The states of a connection. One that serves no request may be closed for
// another's sake; compare and swap decide between that and a request that comes.
const (
	stateIdle    int32 = iota // nothing of a request has come
	stateHeader               // a part of its header has
	stateRequest              // all of its header has, and it is answered now
	stateEvicted              // closed for another's sake
)

// newConn makes one of an accepted connection, and asks the kernel for its peer.
func (s *Server) newConn(c net.Conn) *conn {
	w := &conn{Conn: c, server: s, framing: framing{first: true}, over: make(chan struct{})}
	w.since.Store(time.Now().UnixNano())
	if u, ok := c.(*net.UnixConn); ok {
		w.peer, w.err = peer.OfConn(u)
	} else {
		w.err = errors.ErrUnsupported
	}
	return w
}

// enter changes the state, unless the connection has been evicted.
func (c *conn) enter(state int32) bool {
	for {
		now := c.state.Load()
		if now == stateEvicted {
			return false
		}
		if now == state || c.state.CompareAndSwap(now, state) {
			c.since.Store(time.Now().UnixNano())
			return true
		}
	}
}

// listener makes accepted connections conns, and refuses those that have no place.
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
		w := l.server.newConn(c)
		if !l.server.places.admit(w) {
			w.reject()
			continue
		}
		return w, nil
	}
}

// reject answers a connection without reading its request, and closes it.
func (c *conn) reject() {
	c.tellNoPlace()
	_ = c.Close()
}

// tellNoPlace answers that there are too many connections.
func (c *conn) tellNoPlace() {
	p := c.server.places.tooMany()
	c.server.refused.count(p.Kind)
	_, _ = c.write(rawProblem(p))
}

// Close is net.Conn's.
func (c *conn) Close() error {
	c.closed.Do(func() { c.server.conns.closed(c) })
	return c.Conn.Close()
}

// Read is net.Conn's. It answers a request whose header does not end within its
// time, or is not HTTP to the letter: net/http would only close the connection, or
// take it.
func (c *conn) Read(b []byte) (int, error) {
	if c.malformed.Load() && !c.handling.Load() {
		return 0, c.refuse(ipc.Errorf(ipc.KindBadRequest, "the request is not HTTP/1.1 as it should be: its line ends or folds are not"))
	}
	n, err := c.Conn.Read(b)
	if n > 0 {
		return n, c.received(b[:n])
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && c.state.Load() == stateHeader && !c.handling.Load():
		p := ipc.Errorf(ipc.KindRequestTimeout, "the request's header did not come to its end within %v", c.server.opts.Times.Header)
		_ = c.refuse(p)
	case errors.Is(err, io.EOF) && c.answering():
		return 0, c.untilHangup()
	}
	return n, err
}

// received follows what was read. An error refuses it.
func (c *conn) received(b []byte) error {
	if c.state.Load() == stateIdle && !c.enter(stateHeader) {
		return io.EOF
	}
	wrong, ended := c.framing.take(b)
	switch {
	case wrong != "" && c.handling.Load():
		c.malformed.Store(true) // what is answered now was in order
	case wrong != "":
		return c.refuse(ipc.Errorf(ipc.KindBadRequest, "the request is not HTTP/1.1 as it should be: %s", wrong))
	case ended && !c.enter(stateRequest):
		return io.EOF
	}
	return nil
}

// refuse answers in place of net/http, and gives the error that makes it close the
// connection.
func (c *conn) refuse(p *ipc.Error) error {
	if !c.rejected.Swap(true) {
		c.server.refused.count(p.Kind)
		_, _ = c.write(rawProblem(p))
	}
	return io.EOF
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
		c.server.refused.count(p.Kind)
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
		c.server.refused.count(ipc.KindRequestTimeout)
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
		c.handling.Store(false)
		c.bodyRead.Store(false)
		c.hadRequest.Store(true)
		c.enter(stateIdle)
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
