// Package client is the Go client of the daemon's API. Its zero value works:
// it finds the socket as the commands do. Errors are *ipc.Error; one of
// KindUnavailable says that nobody listens.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"dispatchd/ipc"
)

// Client talks to one daemon. Its methods may be called from any goroutine.
type Client struct {
	Socket string                                      // "" = ipc.FindSocket
	Dial   func(ctx context.Context) (net.Conn, error) // nil = the socket

	once sync.Once
	http *http.Client
}

// waitPiece is how long one request of a longer wait lasts.
const waitPiece = 30 * time.Second

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
			DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
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

// unreachable says why no answer came.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	cause := err
	if u, ok := errors.AsType[*url.Error](err); ok {
		cause = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return ipc.Unreachable(c.socket(), cause)
	}
	return ipc.Lost(c.socket(), cause)
}

// problem reads an error's answer.
func problem(resp *http.Response) error {
	var p ipc.Error
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if json.Unmarshal(raw, &p) != nil || p.Kind == "" {
		p = *ipc.Errorf(ipc.KindInternal, "the daemon answered %s", resp.Status)
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
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		return v, fmt.Errorf("answer of %s: %w", path, err)
	}
	return v, nil
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return call[T](ctx, c, http.MethodGet, path, nil, nil)
}

func post[T any](ctx context.Context, c *Client, path string) (T, error) {
	return call[T](ctx, c, http.MethodPost, path, nil, nil)
}

// keyed is a header with an idempotency key, nil without one.
func keyed(key string) http.Header {
	if key == "" {
		return nil
	}
	return http.Header{"Idempotency-Key": {key}}
}

// Notify asks for a run of a dispatcher.
func (c *Client) Notify(ctx context.Context, req ipc.NotifyRequest) (ipc.Notified, error) {
	var body []byte
	if len(req.Arguments) > 0 {
		body = append(append([]byte(`{"arguments":`), req.Arguments...), '}')
	}
	return call[ipc.Notified](ctx, c, http.MethodPost, dispatcherPath(req.Dispatcher)+"/notify", body, keyed(req.IdempotencyKey))
}

func dispatcherPath(name string) string { return "/v1/dispatchers/" + url.PathEscape(name) }
func jobPath(id string) string          { return "/v1/jobs/" + url.PathEscape(id) }

// Job gives one job by its id or a unique start of it.
func (c *Client) Job(ctx context.Context, id string) (ipc.Job, error) {
	return get[ipc.Job](ctx, c, jobPath(id))
}

// Await waits for a job's end, in pieces, until ctx is done.
func (c *Client) Await(ctx context.Context, id string) (ipc.Job, error) {
	for {
		job, err := get[ipc.Job](ctx, c, jobPath(id)+"?wait="+waitPiece.String())
		if err != nil || job.State.Final() {
			return job, err
		}
	}
}

// Jobs lists jobs, newest first.
func (c *Client) Jobs(ctx context.Context, f ipc.JobFilter) ([]ipc.Job, error) {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("dispatcher", f.Dispatcher)
	set("state", string(f.State))
	set("before", f.Before)
	if !f.Since.IsZero() {
		set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	if f.Limit > 0 {
		set("limit", strconv.Itoa(f.Limit))
	}
	return get[[]ipc.Job](ctx, c, "/v1/jobs?"+q.Encode())
}

// Log reads a job's output from a byte on; with follow until the job has ended.
func (c *Client) Log(ctx context.Context, id string, from int64, follow bool) (io.ReadCloser, error) {
	path := fmt.Sprintf("%s/log?from=%d&follow=%t", jobPath(id), from, follow)
	resp, err := c.send(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Cancel ends a job.
func (c *Client) Cancel(ctx context.Context, id string) (ipc.Job, error) {
	return post[ipc.Job](ctx, c, jobPath(id)+"/cancel")
}

// Retry asks for a new job like an ended one.
func (c *Client) Retry(ctx context.Context, id, key string) (ipc.Notified, error) {
	return call[ipc.Notified](ctx, c, http.MethodPost, jobPath(id)+"/retry", nil, keyed(key))
}

// Dispatchers lists all dispatchers.
func (c *Client) Dispatchers(ctx context.Context) ([]ipc.Dispatcher, error) {
	return get[[]ipc.Dispatcher](ctx, c, "/v1/dispatchers")
}

// Dispatcher gives one dispatcher with its definition.
func (c *Client) Dispatcher(ctx context.Context, name string) (ipc.Dispatcher, error) {
	return get[ipc.Dispatcher](ctx, c, dispatcherPath(name))
}

// Pause holds a dispatcher's jobs, or lets them go on.
func (c *Client) Pause(ctx context.Context, name string, paused bool) (ipc.Dispatcher, error) {
	verb := "/resume"
	if paused {
		verb = "/pause"
	}
	return post[ipc.Dispatcher](ctx, c, dispatcherPath(name)+verb)
}

// Locks lists locks with holders and waiters.
func (c *Client) Locks(ctx context.Context) ([]ipc.Lock, error) {
	return get[[]ipc.Lock](ctx, c, "/v1/locks")
}

// Status is the daemon at a glance.
func (c *Client) Status(ctx context.Context) (ipc.Status, error) {
	return get[ipc.Status](ctx, c, "/v1/status")
}

// Health says whether the daemon works.
func (c *Client) Health(ctx context.Context) (ipc.Health, error) {
	return get[ipc.Health](ctx, c, "/v1/health")
}

// Reload has the definitions read anew.
func (c *Client) Reload(ctx context.Context) (ipc.Reload, error) {
	return post[ipc.Reload](ctx, c, "/v1/reload")
}

// Drain refuses new jobs while on; with a wait it returns when all have ended,
// or the wait is over.
func (c *Client) Drain(ctx context.Context, on bool, wait time.Duration) (ipc.Status, error) {
	switch {
	case !on:
		return post[ipc.Status](ctx, c, "/v1/undrain")
	case wait > 0:
		return post[ipc.Status](ctx, c, "/v1/drain?wait="+wait.String())
	}
	return post[ipc.Status](ctx, c, "/v1/drain")
}

// Upgrade has the daemon become the program that is installed now. It is done
// when Status says another started_at.
func (c *Client) Upgrade(ctx context.Context) (ipc.Upgrade, error) {
	return post[ipc.Upgrade](ctx, c, "/v1/upgrade")
}

// OpenAPI gives the API's description as JSON.
func (c *Client) OpenAPI(ctx context.Context) (json.RawMessage, error) {
	return get[json.RawMessage](ctx, c, "/openapi.json")
}
