package server

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// keep opens a connection that has had one answer and stays open.
func (h *harness) keep() (net.Conn, reply) {
	h.t.Helper()
	c := h.dial()
	_, _ = io.WriteString(c, "GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return c, reply{resp.StatusCode, resp.Header, all}
}

// Connections beyond the limit get a typed answer to their request, and beyond
// all bounds one without being read; those that are open go on being served.
func TestConnectionLimit(t *testing.T) {
	h := start(t, Options{MaxConns: 3})
	var open []net.Conn
	for range 3 {
		c, got := h.keep()
		if open = append(open, c); got.status != 200 {
			t.Fatalf("status %d below the limit", got.status)
		}
	}
	for range 2 {
		if p := wantProblem(t, parse(t, h.say(request("GET", "/v1/health", ""), false)), ipc.KindTooManyConnections); p.RetryAfter != 1 {
			t.Errorf("Retry-After %d", p.RetryAfter)
		}
	}
	for range h.server.hardLimit() - 3 {
		open = append(open, h.dial()) // says nothing: is not refused yet
	}
	_ = wantProblem(t, parse(t, h.say("", false)), ipc.KindTooManyConnections)
	_, _ = io.WriteString(open[0], request("GET", "/v1/health", ""))
	if all, _ := io.ReadAll(open[0]); !strings.HasPrefix(string(all), "HTTP/1.1 200") {
		t.Errorf("an open connection was told %.60q", all)
	}
	for _, c := range open {
		_ = c.Close()
	}
	for h.server.conns.count() > 0 { // what was closed is seen by the server when it reads
	}
	if got := h.refusedSoFar(); got.Connections != 3 {
		t.Errorf("counters %+v", got)
	}
}

func TestConnectionLimitKeepsDescriptorsFree(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	few := old
	few.Cur = 64
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	got := connLimit(512)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if got != 32 || connLimit(10) != 10 || connLimit(0) > defaultConns {
		t.Errorf("limits %d, %d, %d", got, connLimit(10), connLimit(0))
	}
}

// said is a log that tells a test of each line.
type said struct {
	slog.Handler
	lines chan string
}

func (s said) Enabled(context.Context, slog.Level) bool { return true }
func (s said) Handle(_ context.Context, r slog.Record) error {
	select {
	case s.lines <- r.Message:
	default:
	}
	return nil
}

// Out of file descriptors, the server neither ends nor spins: it tries again
// later, and the client that came meanwhile is served.
func TestOutOfDescriptors(t *testing.T) {
	log := said{slog.DiscardHandler, make(chan string, 100)}
	h := start(t, Options{Log: slog.New(log)})
	h.do("GET", "/v1/health", "") // whatever is opened once is open now
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	free := null.Fd() // the lowest one
	_ = null.Close()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	few := old
	few.Cur = 1
	for range free { // its type is not the same everywhere
		few.Cur++
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	c := h.dial() // takes the last one; the kernel queues it
	_, _ = io.WriteString(c, request("GET", "/v1/health", ""))
	var line string
	for !strings.Contains(line, "too many open files") {
		line = await(t, log.lines, "the complaint about descriptors")
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(c); !strings.HasPrefix(string(all), "HTTP/1.1 200") {
		t.Errorf("answer %.60q, %v", all, err)
	}
	if !strings.Contains(line, "retrying") {
		t.Errorf("the log says %q", line)
	}
}

// Every bound that the status shows is counted somewhere.
func TestEveryRefusalIsCounted(t *testing.T) {
	s := New(newMemory(), Options{})
	for _, k := range []ipc.Kind{
		ipc.KindTooManyConnections, ipc.KindHeaderTooLarge, ipc.KindBodyTooLarge, ipc.KindForbidden, ipc.KindBadRequest, ipc.KindRequestTimeout,
	} {
		s.countRefusal(k)
	}
	st, _ := s.addCounters(ipc.Status{}, nil)
	if want := (ipc.APIRefusals{Connections: 1, Headers: 1, Bodies: 1, Foreign: 1, Malformed: 1, Slow: 1}); st.API.Refused != want {
		t.Errorf("counters %+v", st.API.Refused)
	}
}

// A connection that is closed twice is counted once.
func TestCloseTwice(t *testing.T) {
	s := New(newMemory(), Options{})
	a, b := net.Pipe()
	defer func() { _ = b.Close() }()
	s.conns.opened()
	s.conns.opened()
	c := &conn{Conn: a, server: s}
	_ = c.Close()
	_ = c.Close()
	if n := s.conns.count(); n != 1 {
		t.Errorf("%d are open", n)
	}
}
