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

// strangers makes nobody root or the daemon's own user.
func strangers(ipc.Peer) bool { return false }

// waitsFor opens a connection whose request waits for job J1.
func (h *harness) waitsFor() net.Conn {
	h.t.Helper()
	c := h.dial()
	_, _ = io.WriteString(c, request("GET", "/v1/jobs/J1?wait=true", ""))
	await(h.t, h.back.waits, "the wait")
	return c
}

// Connections beyond the limit get a typed answer to their request, and beyond
// all bounds one without being read; those that are open go on being served.
func TestConnectionLimit(t *testing.T) {
	h := start(t, Options{MaxConns: 3, privileged: strangers})
	e := h.back.add(ipc.Running)
	var open []net.Conn
	for range 3 {
		open = append(open, h.waitsFor())
	}
	for range 2 {
		if p := wantProblem(t, parse(t, h.say(request("GET", "/v1/health", ""), false)), ipc.KindTooManyConnections); p.RetryAfter != 1 {
			t.Errorf("Retry-After %d", p.RetryAfter)
		}
	}
	for range h.server.places.hardLimit() - 3 {
		open = append(open, h.dial()) // says nothing: is not refused yet
	}
	_ = wantProblem(t, parse(t, h.say("", false)), ipc.KindTooManyConnections)
	h.back.end(e, ipc.Succeeded)
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

// What serves no request makes room for who comes: nobody is locked out by
// connections that say nothing, half a header, or had their answer.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	for name, text := range map[string]string{"nothing": "", "half a header": "GET /v1/health HTTP/1.1\r\nHo"} {
		h := start(t, Options{MaxConns: 4, privileged: strangers})
		var open []net.Conn
		for range 4 {
			c := h.dial()
			_, _ = io.WriteString(c, text)
			open = append(open, c)
		}
		for h.server.conns.count() < 4 {
		}
		before := h.server.conns.count()
		for tries := 0; ; tries++ { // evictAfter has to pass
			got := parse(t, h.say(request("GET", "/v1/health", ""), false))
			if got.status == 200 {
				break
			}
			_ = wantProblem(t, got, ipc.KindTooManyConnections)
		}
		if before != 4 || h.server.conns.count() > 4 {
			t.Errorf("%s: %d, then %d are open", name, before, h.server.conns.count())
		}
		told := make(chan string, len(open))
		for _, c := range open {
			go func() {
				text, _ := io.ReadAll(c)
				told <- string(text)
			}()
		}
		if text := await(t, told, "the end of who made room"); !strings.Contains(text, string(ipc.KindTooManyConnections)) {
			t.Errorf("%s: who made room was told %.80q", name, text)
		}
	}
}

// Strangers cannot take the places of root and of the daemon's own user, and who
// waits, whoever it is, leaves some free: root's status is always answered.
func TestPlacesAreKept(t *testing.T) {
	own := make(chan bool, 1)
	own <- false
	mine := func(ipc.Peer) bool { v := <-own; own <- v; return v }
	become := func(v bool) { <-own; own <- v }
	h := start(t, Options{MaxConns: 16, privileged: mine, crowd: 1000})
	h.back.add(ipc.Running)
	for range 14 {
		h.waitsFor()
	}
	_ = wantProblem(t, parse(t, h.say(request("GET", "/v1/health", ""), false)), ipc.KindTooManyConnections)
	become(true)
	st := decode[ipc.Status](t, parse(t, h.say(request("GET", "/v1/status", ""), false)), 200)
	if st.API.Waiting != 14 || st.API.Reserved != 2 || len(st.API.Clients) != 1 || st.API.Clients[0].Connections != 15 || st.API.Clients[0].Waiting != 14 {
		t.Errorf("%+v", st.API)
	}
	if got := st.API.Clients[0]; got.Peer != self() || pathMax() == 107 && got.Process == "" {
		t.Errorf("%+v is not this process", got)
	}
	// Root's own waits do not take them either: a notify is accepted all the same.
	p := wantProblem(t, parse(t, h.say(request("GET", "/v1/jobs/J1?wait=true", ""), false)), ipc.KindTooManyConnections)
	if !strings.Contains(p.Detail, "waits") {
		t.Error(p.Detail)
	}
	n := decode[ipc.Notified](t, parse(t, h.say(request("POST", "/v1/dispatchers/d/notify?wait=true", ""), false)), 202)
	if n.State != ipc.Queued {
		t.Errorf("%+v", n)
	}
	for range h.server.places.hardLimit() - 14 - 1 { // all that is there, and more than there is
		h.keepAs(true)
	}
	decode[ipc.Status](t, parse(t, h.say(request("GET", "/v1/status", ""), false)), 200)
}

// A process with a crowd of connections, root's too, leaves places for others: who
// asks for the status in the middle of its flood is answered.
func TestFloodLeavesPlaces(t *testing.T) {
	s := New(newMemory(), Options{MaxConns: 64, crowd: 4})
	come := func(pid int, state int32) *conn {
		c := s.newConn(nil)
		c.err, c.peer = nil, ipc.Peer{UID: os.Geteuid(), PID: pid}
		c.state.Store(state)
		if !s.places.admit(c) {
			s.conns.closed(c)
			return nil
		}
		return c
	}
	n := 0
	for range 600 {
		if c := come(7, stateRequest); c != nil && !s.places.crowdedOut(c) {
			n++
		}
	}
	if n != 64-8 {
		t.Errorf("the flood has %d places of 64, 8 of which are kept", n)
	}
	for pid := range 8 {
		if c := come(100+pid, stateRequest); c == nil || s.places.crowdedOut(c) {
			t.Errorf("process %d is refused, with %d taken", pid, s.conns.taken())
		}
	}
}

// keepAs is keep for a test that looks at nothing of it.
func (h *harness) keepAs(bool) {
	c := h.dial()
	_, _ = io.WriteString(c, "GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
	_, _ = http.ReadResponse(bufio.NewReader(c), nil) //nolint:bodyclose // the connection is closed
}

// A log that is followed takes two descriptors, and both count.
func TestFollowersCountTwice(t *testing.T) {
	h := start(t, Options{MaxConns: 8, privileged: strangers})
	var followed []net.Conn
	for i := range 4 { // 7 places for strangers: three followers, and one connection
		out, in := io.Pipe()
		defer func() { _ = in.Close() }()
		h.back.add(ipc.Running).out = out
		c := h.dial()
		followed = append(followed, c)
		_, _ = io.WriteString(c, request("GET", "/v1/jobs/J"+string(rune('1'+i))+"/log?follow=true", ""))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if want := map[bool]int{true: 200, false: 503}[i < 3]; resp.StatusCode != want {
			t.Errorf("follower %d: status %d", i+1, resp.StatusCode)
		}
	}
	for _, c := range followed {
		_ = c.Close()
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
		s.refused.count(k)
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
	c := &conn{Conn: a, server: s}
	s.conns.opened(c)
	s.conns.opened(&conn{})
	_ = c.Close()
	_ = c.Close()
	if n := s.conns.count(); n != 1 {
		t.Errorf("%d are open", n)
	}
}
