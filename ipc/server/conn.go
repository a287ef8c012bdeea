package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"

	"dispatchd/ipc"
)

// conn is an accepted connection: it knows its peer, and it turns the plain
// text with which net/http answers a request it cannot read into a problem.
type conn struct {
	net.Conn
	peer ipc.Peer
	err  error
}

// wrap makes the listener's connections conns.
type wrap struct{ net.Listener }

// Accept is net.Listener's. The credentials are read at once, while they are
// certainly the peer's.
func (l wrap) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	w := &conn{Conn: c}
	if u, ok := c.(*net.UnixConn); ok {
		w.peer, w.err = credentials(u)
	}
	return w, nil
}

// Write is net.Conn's.
func (c *conn) Write(b []byte) (int, error) {
	if kind, ok := plain(b); ok {
		if _, err := c.Conn.Write(rewritten(kind)); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// plain recognizes net/http's own answers before any handler.
func plain(b []byte) (ipc.Kind, bool) {
	if !bytes.HasPrefix(b, []byte("HTTP/1.1 4")) || !bytes.Contains(b, []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n4")) {
		return "", false
	}
	if bytes.HasPrefix(b, []byte("HTTP/1.1 431 ")) {
		return ipc.KindHeaderTooLarge, true
	}
	return ipc.KindBadRequest, true
}

// rewritten is the problem in their place.
func rewritten(k ipc.Kind) []byte {
	p := complete(ipc.Errorf(k, "the request is not HTTP as it should be"))
	if k == ipc.KindHeaderTooLarge {
		p.Detail = fmt.Sprintf("the request's header has more than %d bytes", maxHeader)
	}
	body, _ := json.Marshal(p)
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\n%s: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		p.Status, p.Title, ipc.APIHeader, ipc.SpokenAPI(), len(body), body)
}

type peerKey struct{}

// connContext carries the connection to its requests.
func (s *Server) connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, c)
}

// connState counts the open connections.
func (s *Server) connState(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.conns.Add(1)
		s.retire.opened()
	case http.StateClosed, http.StateHijacked:
		s.conns.Add(-1)
		s.retire.closed()
	}
}

// peerOf is who sent a request, an error where the kernel did not say.
func peerOf(ctx context.Context) (ipc.Peer, error) {
	c, ok := ctx.Value(peerKey{}).(*conn)
	if !ok || c.err != nil {
		return ipc.Peer{}, ipc.Errorf(ipc.KindForbidden, "the kernel does not say who you are")
	}
	return c.peer, nil
}
