// Package client is the Go client of the daemon's API. Its zero value works:
// it finds the socket as the commands do. Errors are *ipc.Error; KindUnavailable
// says that no daemon listens.
//
// What waits for a job outlives the daemon: Await, Hold and Log ask the next
// daemon when one goes down. What asks for a job is sent again only with an
// idempotency key, for without one it could run twice.
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
	Dial   func(ctx context.Context) (net.Conn, error) // nil = the socket

	once    sync.Once
	http    *http.Client
	reached atomic.Bool // a connection was made once, and a daemon may have had a request
}

// maxBody bounds what is read of one answer.
const maxBody = 1 << 30

// Close closes the connections that are kept for further calls. The client can
// still be used.
func (c *Client) Close() { c.client().CloseIdleConnections() }

// Reached reports whether a connection was ever made. Without one, no daemon has
// had a request of this client.
func (c *Client) Reached() bool { return c.reached.Load() }

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
			dial = func(ctx context.Context) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", c.socket())
			}
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

// send makes one request; the caller closes the body of a good answer.
func (c *Client) send(ctx context.Context, method, path string, body []byte, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://dispatchd"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.client().Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
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

// unreachable is the error of a request without an answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return ipc.Unreachable(c.socket(), err)
	}
	return ipc.Lost(c.socket(), err)
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
func call[T any](ctx context.Context, c *Client, method, path string, body []byte, header http.Header) (T, error) {
	var v T
	resp, err := c.send(ctx, method, path, body, header)
	if err != nil {
		return v, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return v, c.unreachable(ctx, err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, ipc.Errorf(ipc.KindInternal, "answer of %s: %v", path, err)
	}
	return v, nil
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return call[T](ctx, c, http.MethodGet, path, nil, nil)
}

func post[T any](ctx context.Context, c *Client, path string) (T, error) {
	return call[T](ctx, c, http.MethodPost, path, nil, nil)
}
