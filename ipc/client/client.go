// Package client is the Go client of the daemon's API. Its zero value works:
// it finds the socket as the commands do. Errors are *ipc.Error; KindUnavailable
// says that no daemon listens.
//
// What waits for a job outlives the daemon: Await, Hold and Log ask the next
// daemon when one goes down. What asks for a job is sent again only with an
// idempotency key, for without one it could run twice.
//
// Before the first byte a client asks the kernel who serves the socket, and
// refuses a stranger (peer.Trusted). A daemon that is there and does not answer
// is told to Waiting, and given up after Timeout.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"dispatchd/ipc"
)

// Client talks to one daemon. Its methods may be called from any goroutine.
// Their errors are *ipc.Error, or the context's where that is done.
type Client struct {
	Socket string                                      // "" = ipc.FindSocket
	Dial   func(ctx context.Context) (net.Conn, error) // nil = the socket; who serves another connection is not asked

	// ServerUser names the user, by name or number, whose daemon is trusted besides
	// root's and one's own; "" = $DISPATCHD_SERVER_USER.
	ServerUser string
	// Timeout is how long the daemon may take for an answer, beyond the time that
	// it was asked to wait; 0 = as long as it likes. What waits for a job gives up
	// as well when no daemon was there for so long.
	Timeout time.Duration
	// Waiting is told why no answer has come for 2 s, once until one comes; nil =
	// nobody. It is called on another goroutine.
	Waiting func(why string)

	once       sync.Once
	http       *http.Client
	reached    atomic.Bool  // a connection was made once, and a daemon may have had a request
	told       atomic.Bool  // Waiting was, and no answer came since
	refusing   atomic.Bool  // connects wait for room in the socket's backlog
	server     atomic.Int64 // process id of who listens on the socket, 0 = not known
	unanswered atomic.Int64 // requests that change something and have no answer
}

// maxBody bounds what is read of one answer.
const maxBody = 1 << 30

// Close closes the connections that are kept for further calls. The client can
// still be used.
func (c *Client) Close() { c.client().CloseIdleConnections() }

// Reached reports whether a connection was ever made. Without one, no daemon has
// had a request of this client.
func (c *Client) Reached() bool { return c.reached.Load() }

// Unanswered reports whether a request that changes something was sent and has
// got no answer: the daemon may have done it or not. A read changes nothing.
func (c *Client) Unanswered() bool { return c.unanswered.Load() > 0 }

// socket is where the daemon listens.
func (c *Client) socket() string {
	if c.Socket != "" {
		return c.Socket
	}
	return ipc.FindSocket("")
}

// client makes the HTTP client at its first use.
func (c *Client) client() *http.Client {
	c.once.Do(func() {
		dial := c.Dial
		if dial == nil {
			dial = c.dialSocket
		}
		c.http = &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				conn, err := dial(ctx)
				if err == nil {
					c.reached.Store(true)
				}
				return conn, err
			},
			DisableCompression: true, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
		}}
	})
	return c.http
}

// request is one request.
type request struct {
	method, path string
	body         []byte
	header       http.Header
	waits        time.Duration // how long the daemon is asked to wait before it answers; forEver
}

// changes reports whether the daemon may do something for the request.
func (r request) changes() bool { return r.method != http.MethodGet }

// send makes one request; the caller closes the body of a good answer.
func (c *Client) send(parent context.Context, r request) (*http.Response, error) {
	ctx, w := c.watch(parent, r)
	resp, err := c.exchange(ctx, r)
	w.answered()
	if err != nil {
		w.cancel(nil)
		return nil, c.unreachable(parent, context.Cause(ctx), r, err)
	}
	c.told.Store(false)
	resp.Body = watchedBody{resp.Body, w.cancel}
	if err := ipc.CheckAPI(resp.Header.Get(ipc.APIHeader)); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	return nil, problem(resp)
}

// exchange sends a request and reads the head of its answer.
func (c *Client) exchange(ctx context.Context, r request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, "http://dispatchd"+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	if r.header != nil {
		req.Header = r.header
	}
	if len(r.body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.changes() {
		c.unanswered.Add(1)
	}
	resp, err := c.client().Do(req)
	if r.changes() && (err == nil || !c.reached.Load()) {
		c.unanswered.Add(-1)
	}
	return resp, err
}

// unreachable is the error of a request without an answer. ended is why its
// context ended, nil = it did not.
func (c *Client) unreachable(parent context.Context, ended error, r request, err error) error {
	if parent.Err() != nil {
		return parent.Err()
	}
	for _, e := range []error{ended, err} {
		if p, typed := errors.AsType[*ipc.Error](e); typed {
			return p
		}
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return ipc.Unreachable(c.socket(), err)
	}
	return ipc.Lost(c.socket(), r.changes(), err)
}

// problem reads the answer of a request that failed.
func problem(resp *http.Response) error {
	var p ipc.Error
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if json.Unmarshal(raw, &p) != nil || p.Kind == "" {
		p = *ipc.Errorf(ipc.KindInternal, "the daemon answered %.60q, and not as dispatchd does", resp.Status)
	}
	return &p
}

// call makes a request and decodes its answer.
func call[T any](ctx context.Context, c *Client, r request) (T, error) {
	var v T
	resp, err := c.send(ctx, r)
	if err != nil {
		return v, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return v, c.unreachable(ctx, nil, r, err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, ipc.Errorf(ipc.KindInternal, "answer of %s: %v", r.path, err)
	}
	return v, nil
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return call[T](ctx, c, request{method: http.MethodGet, path: path})
}

func post[T any](ctx context.Context, c *Client, path string) (T, error) {
	return call[T](ctx, c, request{method: http.MethodPost, path: path})
}
