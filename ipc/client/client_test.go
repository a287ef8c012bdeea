package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dispatchd/ipc"
)

// Each method asks for what it says.
func TestCalls(t *testing.T) {
	since := time.Date(2026, 11, 25, 1, 2, 3, 4, time.FixedZone("", 3600))
	ctx := t.Context()
	type answered func(c *Client) (any, error)
	for name, c := range map[string]struct {
		call answered
		want seen
	}{
		"Notify": {
			func(c *Client) (any, error) { return c.Notify(ctx, ipc.NotifyRequest{Dispatcher: "d"}) },
			seen{Line: "POST /v1/dispatchers/d/notify"},
		},
		"Notify with all": {func(c *Client) (any, error) {
			return c.Notify(ctx, ipc.NotifyRequest{Dispatcher: "../a b", Arguments: json.RawMessage(`{"x":[1]}`), IdempotencyKey: "k"})
		}, seen{"POST /v1/dispatchers/..%2Fa%20b/notify", "k", "application/json", `{"arguments":{"x":[1]}}`}},
		"Job":  {func(c *Client) (any, error) { return c.Job(ctx, "01J/x") }, seen{Line: "GET /v1/jobs/01J%2Fx"}},
		"Jobs": {func(c *Client) (any, error) { return c.Jobs(ctx, ipc.JobFilter{}) }, seen{Line: "GET /v1/jobs?"}},
		"Jobs of": {func(c *Client) (any, error) {
			return c.Jobs(ctx, ipc.JobFilter{Dispatcher: "a&b", State: ipc.Failed, Since: since, Before: "01J", Limit: 7})
		}, seen{Line: "GET /v1/jobs?before=01J&dispatcher=a%26b&limit=7&since=2026-11-25T00%3A02%3A03.000000004Z&state=failed"}},
		"Jobs in": {func(c *Client) (any, error) {
			return c.Jobs(ctx, ipc.JobFilter{State: ipc.Failed, States: []ipc.State{ipc.TimedOut, ipc.Expired}})
		}, seen{Line: "GET /v1/jobs?state=failed%2Ctimed_out%2Cexpired"}},
		"Cancel":      {func(c *Client) (any, error) { return c.Cancel(ctx, "01J") }, seen{Line: "POST /v1/jobs/01J/cancel"}},
		"Retry":       {func(c *Client) (any, error) { return c.Retry(ctx, "01J", "k") }, seen{Line: "POST /v1/jobs/01J/retry", Key: "k"}},
		"Dispatchers": {func(c *Client) (any, error) { return c.Dispatchers(ctx) }, seen{Line: "GET /v1/dispatchers"}},
		"Dispatcher":  {func(c *Client) (any, error) { return c.Dispatcher(ctx, "d") }, seen{Line: "GET /v1/dispatchers/d"}},
		"Pause":       {func(c *Client) (any, error) { return c.Pause(ctx, "d", true) }, seen{Line: "POST /v1/dispatchers/d/pause"}},
		"Resume":      {func(c *Client) (any, error) { return c.Pause(ctx, "d", false) }, seen{Line: "POST /v1/dispatchers/d/resume"}},
		"Locks":       {func(c *Client) (any, error) { return c.Locks(ctx) }, seen{Line: "GET /v1/locks"}},
		"Schedule":    {func(c *Client) (any, error) { return c.Schedule(ctx, ipc.ScheduleQuery{Next: 1}) }, seen{Line: "GET /v1/schedule?next=1"}},
		"Schedule of": {func(c *Client) (any, error) { return c.Schedule(ctx, ipc.ScheduleQuery{Dispatcher: "a&b", Next: 2}) }, seen{Line: "GET /v1/schedule?dispatcher=a%26b&next=2"}},
		"Caches":      {func(c *Client) (any, error) { return c.Caches(ctx) }, seen{Line: "GET /v1/caches"}},
		"Status":      {func(c *Client) (any, error) { return c.Status(ctx) }, seen{Line: "GET /v1/status"}},
		"Health":      {func(c *Client) (any, error) { return c.Health(ctx) }, seen{Line: "GET /v1/health"}},
		"Reload":      {func(c *Client) (any, error) { return c.Reload(ctx, true) }, seen{Line: "POST /v1/reload?dry_run=true"}},
		"Drain":       {func(c *Client) (any, error) { return c.Drain(ctx, true, 0) }, seen{Line: "POST /v1/drain"}},
		"Drain wait":  {func(c *Client) (any, error) { return c.Drain(ctx, true, 90*time.Second) }, seen{Line: "POST /v1/drain?wait=1m30s"}},
		"Undrain":     {func(c *Client) (any, error) { return c.Drain(ctx, false, time.Second) }, seen{Line: "POST /v1/undrain"}},
		"Upgrade":     {func(c *Client) (any, error) { return c.Upgrade(ctx) }, seen{Line: "POST /v1/upgrade"}},
		"OpenAPI":     {func(c *Client) (any, error) { return c.OpenAPI(ctx) }, seen{Line: "GET /openapi.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			answer := "{}"
			if slices.Contains([]string{"Jobs", "Jobs of", "Jobs in", "Dispatchers", "Locks", "Schedule", "Schedule of", "Caches"}, name) {
				answer = "[]"
			}
			d, client := newDaemon(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
			if _, err := c.call(client); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]seen{c.want}, d.requests()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// The zero value finds the socket as the commands do.
func TestZeroValue(t *testing.T) {
	d, _ := newDaemon(t, says(200, ipc.Health{Status: "ok"}))
	t.Setenv(ipc.SocketEnv, d.path)
	var c Client
	defer c.Close()
	if h, err := c.Health(t.Context()); err != nil || h.Status != "ok" {
		t.Errorf("%+v, %v", h, err)
	}
}

func TestProblemsStayTyped(t *testing.T) {
	want := ipc.Errorf(ipc.KindQueueFull, "full")
	want.Title, want.RetryAfter, want.Dispatcher, want.Suggestion = "Service Unavailable", 7, "d", "wait"
	_, c := newDaemon(t, says(503, want))
	_, err := c.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "d"})
	if diff := cmp.Diff(want, wantKind(t, err, ipc.KindQueueFull, "full")); diff != "" {
		t.Errorf("problem (-want +got):\n%s", diff)
	}
}

func TestErrorsAreTyped(t *testing.T) {
	text := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = io.WriteString(w, text) }
	}
	other := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(ipc.APIHeader, "7, 12")
		_, _ = io.WriteString(w, `{"id":"01J"}`)
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"id":`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		kind   ipc.Kind
		says   string
	}{
		"another server":  {text(502, "<html>"), ipc.KindInternal, "502"},
		"another version": {other, ipc.KindVersionMismatch, "7, 12"},
		"other JSON":      {text(500, `{"message":"x"}`), ipc.KindInternal, "500"},
		"not JSON":        {text(200, "<html>"), ipc.KindInternal, "answer of"},
		"half an answer":  {cut, ipc.KindUnavailable, "broke before"},
		"trailing":        {text(200, "{} {}"), ipc.KindInternal, "answer of"},
		"no answer":       {breaks, ipc.KindUnavailable, "broke before"},
	} {
		_, client := newDaemon(t, c.answer)
		_, err := client.Cancel(t.Context(), "01J")
		if _ = wantKind(t, err, c.kind, c.says); t.Failed() {
			t.Fatal(name)
		}
	}
	client := &Client{Socket: filepath.Join(t.TempDir(), "none")}
	_, err := client.Status(t.Context())
	if p := wantKind(t, err, ipc.KindUnavailable, client.Socket); !strings.Contains(p.Suggestion, "start dispatchd") {
		t.Errorf("suggestion %q", p.Suggestion)
	}
	reset := &Client{Socket: "/s", Dial: func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		_ = theirs.Close()
		return resets{ours}, nil
	}}
	_, err = reset.Status(t.Context())
	_ = wantKind(t, err, ipc.KindUnavailable, "broke before")
	denied := &Client{Socket: "/s", Dial: func(context.Context) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "unix", Err: &os.SyscallError{Syscall: "connect", Err: fs.ErrPermission}}
	}}
	_, err = denied.Status(t.Context())
	_ = wantKind(t, err, ipc.KindForbidden, "/s")
	_, err = denied.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "d", IdempotencyKey: "a\nb"})
	_ = wantKind(t, err, ipc.KindBadRequest, "key")
}

// resets is a connection that its peer closed with our request unread.
type resets struct{ net.Conn }

func (resets) Read([]byte) (int, error) {
	return 0, &net.OpError{Op: "read", Net: "unix", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}

func TestContextEndsACall(t *testing.T) {
	entered := make(chan struct{})
	_, c := newDaemon(t, func(_ http.ResponseWriter, r *http.Request) { close(entered); <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if _, err := c.Job(ctx, "01J"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// One connection serves call after call, whatever the answers are.
func TestConnectionIsKept(t *testing.T) {
	long := make([]ipc.Job, 300)
	d, c := newDaemon(t, inTurn(says(200, long), says(404, ipc.Errorf(ipc.KindJobUnknown, "x")), says(200, long)))
	var dials atomic.Int32
	c.Dial = func(ctx context.Context) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, "unix", d.path)
	}
	c.Waiting = func(string) {}
	for range 2000 { // also where all processors are busy
		if _, err := c.Jobs(t.Context(), ipc.JobFilter{}); err != nil {
			_ = wantKind(t, err, ipc.KindJobUnknown, "x")
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
