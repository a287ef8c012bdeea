package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// hanging is a backend whose calls last as long as they may.
type hanging struct{ *memory }

func (h hanging) Reload(ctx context.Context, _ ipc.Peer, _ bool) (ipc.Reload, error) {
	h.waits <- "Reload"
	select {
	case <-ctx.Done():
	case <-h.idle:
	}
	return ipc.Reload{}, ctx.Err()
}

func (hanging) Notify(ctx context.Context, _ ipc.Peer, _ ipc.NotifyRequest) (ipc.Notified, error) {
	<-ctx.Done()
	return ipc.Notified{}, ctx.Err()
}

// later sends a request and gives its answer when it comes.
func (h *harness) later(method, path string) <-chan reply {
	ch := make(chan reply, 1)
	go func() { ch <- h.do(method, path, "") }()
	return ch
}

func TestNotifyWaitsForTheEnd(t *testing.T) {
	h := start(t, Options{})
	answer := h.later("POST", "/v1/dispatchers/d/notify?wait=true")
	await(t, h.back.waits, "the wait")
	select {
	case r := <-answer:
		t.Fatalf("answered before the job's end: %d %s", r.status, r.body)
	default:
	}
	e, _ := h.back.find("J1")
	h.back.end(e, ipc.Failed)
	got := await(t, answer, "the answer")
	n := decode[ipc.Notified](t, got, 200)
	if n.State != ipc.Failed || n.Position != 0 || got.header.Get("Location") != "/v1/jobs/J1" {
		t.Errorf("answer %+v, Location %q", n, got.header.Get("Location"))
	}
}

func TestNotifyWaitRunsOut(t *testing.T) {
	h := start(t, Options{})
	n := decode[ipc.Notified](t, h.do("POST", "/v1/dispatchers/d/notify?wait=20ms", ""), 202)
	if n.State != ipc.Queued || n.Position != 1 {
		t.Errorf("answer %+v", n)
	}
}

func TestJobLongPoll(t *testing.T) {
	h := start(t, Options{})
	e := h.back.add(ipc.Running)
	if j := decode[ipc.Job](t, h.do("GET", "/v1/jobs/J1?wait=20ms", ""), 200); j.State != ipc.Running {
		t.Errorf("state %s", j.State)
	}
	await(t, h.back.waits, "the first wait")
	answer := h.later("GET", "/v1/jobs/J1?wait=1h")
	await(t, h.back.waits, "the second wait")
	h.back.end(e, ipc.Succeeded)
	if j := decode[ipc.Job](t, await(t, answer, "the answer"), 200); j.State != ipc.Succeeded {
		t.Errorf("state %s", j.State)
	}
}

func TestDrainWaits(t *testing.T) {
	h := start(t, Options{})
	decode[ipc.Status](t, h.do("POST", "/v1/drain?wait=20ms", ""), 200)
	await(t, h.back.waits, "the first wait")
	answer := h.later("POST", "/v1/drain?wait=true")
	await(t, h.back.waits, "the second wait")
	close(h.back.idle)
	decode[ipc.Status](t, await(t, answer, "the answer"), 200)
}

// A client that goes away frees its wait.
func TestClientGoesAway(t *testing.T) {
	h := start(t, Options{})
	h.back.add(ipc.Running)
	out, in := io.Pipe()
	h.back.add(ipc.Running).out = out
	defer func() { _ = in.Close() }()
	for path, method := range map[string]string{
		"/v1/jobs/J1?wait=true": "GET", "/v1/drain?wait=1h": "POST", "/v1/dispatchers/d/notify?wait=true": "POST", "/v1/jobs/J2/log?follow=true": "GET",
	} {
		c := h.dial()
		body := ""
		if strings.HasSuffix(path, "notify?wait=true") {
			body = `{"arguments":[]}`
		}
		_, _ = io.WriteString(c, request(method, path, body))
		if strings.Contains(path, "log") {
			if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		} else {
			await(t, h.back.waits, path)
		}
		_ = c.Close()
		await(t, h.back.left, "the end of "+path)
	}
}

// abandoning is a backend that tells of each job that is said to be abandoned.
type abandoning struct {
	*memory
	abandoned chan string
}

func (a abandoning) CancelIfAbandoned(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	job, err := a.memory.CancelIfAbandoned(ctx, by, id)
	a.abandoned <- id
	return job, err
}

// A job is abandoned when its holder goes away, and not when the server does.
func TestHold(t *testing.T) {
	back := abandoning{newMemory(), make(chan string, 10)}
	h := startServer(t, back.memory, func(Backend) *Server { return New(back, Options{}) })
	for range 3 {
		h.back.add(ipc.Running)
	}
	answer := h.later("POST", "/v1/jobs/J3/hold")
	await(t, h.back.waits, "the first hold")
	h.back.end(h.back.jobs[2], ipc.Succeeded)
	if j := decode[ipc.Job](t, await(t, answer, "the answer"), 200); j.State != ipc.Succeeded {
		t.Errorf("state %s", j.State)
	}
	c := h.dial()
	_, _ = io.WriteString(c, request("POST", "/v1/jobs/J1/hold", ""))
	await(t, h.back.waits, "the hold of J1")
	_ = c.Close()
	await(t, h.back.left, "its end")
	if id := await(t, back.abandoned, "the end of the holder"); id != "J1" {
		t.Errorf("%s is abandoned", id)
	}
	_ = wantProblem(t, h.do("POST", "/v1/jobs/J9/hold", ""), ipc.KindJobUnknown)

	// Who is gone before the answer holds nothing.
	gone, leave := context.WithCancel(context.WithValue(context.Background(), peerKey{}, &conn{server: h.server, peer: self()}))
	leave()
	for query, want := range map[string]ipc.State{"": ipc.Queued, "?bound=true": ipc.Canceled} {
		h.server.http.Handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(gone, "POST", "http://localhost/v1/dispatchers/d/notify"+query, http.NoBody))
		if got := h.back.view(h.back.jobs[len(h.back.jobs)-1]); got.State != want {
			t.Errorf("notify%s: %s, want %s", query, got.State, want)
		}
	}
	await(t, back.abandoned, "the end of who notified")

	last := h.back.add(ipc.Running).job.ID
	answer = h.later("POST", "/v1/jobs/"+last+"/hold")
	await(t, h.back.waits, "the last hold")
	if err := h.server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if j := decode[ipc.Job](t, await(t, answer, "the answer of a stop"), 200); j.State != ipc.Running {
		t.Errorf("state %s", j.State)
	}
	select {
	case id := <-back.abandoned:
		t.Errorf("a stop abandons %s", id)
	default:
	}
}

// A stop ends every wait with the job as it is. Output that is followed breaks
// off: its reader must not take the stop for the end of the job.
func TestShutdownEndsWaits(t *testing.T) {
	h := start(t, Options{})
	h.back.add(ipc.Running)
	out, in := io.Pipe()
	h.back.add(ipc.Running).out = out
	answer := h.later("GET", "/v1/jobs/J1?wait=true")
	await(t, h.back.waits, "the wait")
	log, err := h.client.Get("http://localhost/v1/jobs/J2/log?follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Body.Close() }()
	go func() { _, _ = io.WriteString(in, "so far\n") }()
	first := make([]byte, 7)
	if _, err := io.ReadFull(log.Body, first); err != nil || string(first) != "so far\n" {
		t.Fatalf("%q, %v", first, err)
	}
	if err := h.server.Shutdown(t.Context()); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if j := decode[ipc.Job](t, await(t, answer, "the answer"), 200); j.State != ipc.Running {
		t.Errorf("state %s", j.State)
	}
	if rest, err := io.ReadAll(log.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the followed output ended with %q, %v", rest, err)
	}
}

func TestLogFollow(t *testing.T) {
	h := start(t, Options{})
	out, in := io.Pipe()
	h.back.add(ipc.Running).out = out
	resp, err := h.client.Get("http://localhost/v1/jobs/J1/log?follow=true&from=9")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if got := h.back.last().Arg; got != "J1 9 true" {
		t.Errorf("asked for %q", got)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "text/plain; charset=utf-8" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("header %v", resp.Header)
	}
	br := bufio.NewReader(resp.Body)
	for _, line := range []string{"one\n", "two\n"} { // each comes at once, not with the next
		go func() { _, _ = io.WriteString(in, line) }()
		if got, err := br.ReadString('\n'); got != line || err != nil {
			t.Errorf("%q, %v; want %q", got, err, line)
		}
	}
	_ = in.Close()
	if rest, err := io.ReadAll(br); err != nil || len(rest) > 0 {
		t.Errorf("at the end: %q, %v", rest, err)
	}
}

// Output that cannot be read breaks off instead of ending.
func TestLogThatCannotBeRead(t *testing.T) {
	h := start(t, Options{})
	out, in := io.Pipe()
	h.back.add(ipc.Succeeded).out = out
	_ = in.CloseWithError(errors.New("disk on fire"))
	resp, err := h.client.Get("http://localhost/v1/jobs/J1/log")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if rest, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("it ended as if whole: %q", rest)
	}
}

// Who closes his side behind the request, as nc and socat do, still gets an
// answer: what does not wait does not end with the client.
func TestHalfClosedClient(t *testing.T) {
	h := start(t, Options{})
	gone, cancel := context.WithCancel(context.WithValue(context.Background(), peerKey{}, &conn{server: h.server, peer: self()}))
	cancel()
	for _, r := range routes() {
		h.back.add(ipc.Running)
		path := strings.NewReplacer("{name}", "d", "{id}", "J1", "{kind}", "draining").Replace(r.path)
		rec := httptest.NewRecorder()
		h.server.http.Handler.ServeHTTP(rec, httptest.NewRequestWithContext(gone, r.method, "http://localhost"+path, http.NoBody))
		if rec.Code >= 300 {
			t.Errorf("%s: status %d %s", r.id, rec.Code, rec.Body)
		}
	}
	h.back.fail["Job"], h.back.fail["Log"] = context.Canceled, context.Canceled
	p := wantProblem(t, h.do("GET", "/v1/jobs/J1/log?follow", ""), ipc.KindBadRequest)
	if !strings.Contains(p.Detail, "closed its side") {
		t.Errorf("a wait that the client ended: %s", p.Detail)
	}
	for range 20 {
		if got := parse(t, h.say(request("GET", "/v1/status", ""), true)); got.status != 200 {
			t.Errorf("status %d %s", got.status, got.body)
		}
	}
}

// A stop answers what was accepted: what does not wait is done, and a wait that
// the backend breaks off is refused for that.
func TestRequestDuringShutdown(t *testing.T) {
	h := start(t, Options{})
	h.server.cancel() // what Shutdown does first
	h.back.add(ipc.Running)
	decode[ipc.Status](t, h.do("GET", "/v1/status", ""), 200)
	decode[ipc.Notified](t, h.do("POST", "/v1/dispatchers/d/notify", ""), 202)
	_ = wantProblem(t, h.do("GET", "/v1/jobs/J1/log?follow", ""), ipc.KindDraining)
}

// A stop waits for the requests that are open, and says when it did not.
func TestShutdownIsBounded(t *testing.T) {
	hung := &hanging{newMemory()}
	s := New(hung, Options{})
	path := filepath.Join(shortDir(t), "s")
	l, err := Listen(path, "", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, request("POST", "/v1/reload", ""))
	await(t, hung.waits, "the call")
	ctx, cancel := context.WithTimeout(t.Context(), shortTime)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v", err)
	}
	if err := await(t, served, "the end of Serve"); err != nil {
		t.Errorf("serve: %v", err)
	}
	close(hung.idle)
}
