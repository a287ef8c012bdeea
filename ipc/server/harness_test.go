package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"dispatchd/ipc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness is a server on a real socket with a client.
type harness struct {
	t      *testing.T
	back   *memory
	server *Server
	socket string
	client *http.Client
}

// start serves a memory backend until the test ends.
func start(t *testing.T, o Options) *harness {
	t.Helper()
	return startServer(t, newMemory(), func(b Backend) *Server { return New(b, o) })
}

func startServer(t *testing.T, back *memory, mk func(Backend) *Server) *harness {
	t.Helper()
	path := filepath.Join(shortDir(t), "s")
	l, err := Listen(path, "", 0o660)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, l, back, mk)
}

// serve serves a listener of any sort.
func serve(t *testing.T, l net.Listener, back *memory, mk func(Backend) *Server) *harness {
	t.Helper()
	h := &harness{t: t, back: back, server: mk(back), socket: l.Addr().String()}
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(l) }()
	h.client = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, l.Addr().Network(), h.socket)
		},
	}}
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		if err := h.server.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return h
}

// shortDir is a directory whose name leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "api")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request; headers are "Name: value".
func (h *harness) do(method, path, body string, headers ...string) reply {
	h.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Add(name, value)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{resp.StatusCode, resp.Header, all}
}

// dial opens a connection of its own.
func (h *harness) dial() *net.UnixConn {
	h.t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: h.socket, Net: "unix"})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	return c
}

// say writes text as it is and reads to the connection's end.
func (h *harness) say(text string, hangUp bool) string {
	h.t.Helper()
	c := h.dial()
	_, _ = io.WriteString(c, text) // it may be cut off before it is all sent
	if hangUp {
		_ = c.CloseWrite()
	}
	all, err := io.ReadAll(c)
	if err != nil && len(all) == 0 {
		h.t.Fatalf("answer to %.60q: %v", text, err)
	}
	return string(all)
}

// parse reads one raw answer, and fails when more follows it.
func parse(t *testing.T, text string) reply {
	t.Helper()
	br := bufio.NewReader(strings.NewReader(text))
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatalf("not an answer: %v\n%q", err, text)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("not a whole answer: %v\n%q", err, text)
	}
	if rest, _ := io.ReadAll(br); len(rest) > 0 {
		t.Fatalf("something follows the answer: %q", rest)
	}
	return reply{resp.StatusCode, resp.Header, body}
}

// wantProblem checks everything that holds for each error.
func wantProblem(t *testing.T, r reply, kind ipc.Kind) *ipc.Error {
	t.Helper()
	var p ipc.Error
	dec := json.NewDecoder(bytes.NewReader(r.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("status %d, not a problem: %v\n%s", r.status, err, r.body)
	}
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type is %q", got)
	}
	if err := ipc.CheckAPI(r.header.Get(ipc.APIHeader)); err != nil {
		t.Error(err)
	}
	if p.Kind != kind || r.status != kind.Status() {
		t.Errorf("status %d, kind %s (%s); want %s", r.status, p.Kind, p.Detail, kind)
	}
	if p.Status != r.status || p.Type != "/problems/"+string(p.Kind) || p.Title != http.StatusText(r.status) || p.Detail == "" {
		t.Errorf("type %q, title %q, status %d, detail %q do not fit HTTP status %d", p.Type, p.Title, p.Status, p.Detail, r.status)
	}
	if p.RetryAfter > 0 {
		want := strconv.Itoa(p.RetryAfter)
		if got := r.header.Get("Retry-After"); got != want {
			t.Errorf("Retry-After is %q, want %q", got, want)
		}
	} else if r.status == http.StatusServiceUnavailable {
		t.Error("a 503 does not say when to ask again")
	}
	return &p
}

// decode reads a good answer.
func decode[T any](t *testing.T, r reply, status int) T {
	t.Helper()
	var v T
	if r.status != status {
		t.Fatalf("status %d, want %d\n%s", r.status, status, r.body)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q", got)
	}
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("answer: %v\n%s", err, r.body)
	}
	return v
}

// isFixed reports whether a route's answer is the same for everybody: no backend is
// asked for it.
func isFixed(id string) bool { return id == "openapi" || id == "index" || id == "problem" }

// await takes the next event. A caller names the event for its reader: go test's
// own -timeout, which is the only end, shows the line.
func await[T any](t *testing.T, ch <-chan T, _ string) T {
	t.Helper()
	return <-ch
}

// self is this process as the kernel shows it to the server.
func self() ipc.Peer {
	p := ipc.Peer{UID: os.Getuid(), GID: os.Getgid(), PID: os.Getpid()}
	if pathMax() != 107 {
		p.PID = 0 // not told
	}
	return p
}

// refusedSoFar are the counters, asked for as everybody does.
func (h *harness) refusedSoFar() ipc.APIRefusals {
	h.t.Helper()
	return decode[ipc.Status](h.t, h.do("GET", "/v1/status", ""), 200).API.Refused
}

// request is a whole plain request.
func request(method, path, body string, headers ...string) string {
	var head strings.Builder
	_, _ = fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, path)
	for _, line := range headers {
		head.WriteString(line + "\r\n")
	}
	if body != "" {
		_, _ = fmt.Fprintf(&head, "Content-Length: %d\r\n", len(body))
	}
	return head.String() + "\r\n" + body
}
