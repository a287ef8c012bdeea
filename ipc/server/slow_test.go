package server

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"dispatchd/ipc"
)

// shortTime is a bound that a test reaches.
const shortTime = 100 * time.Millisecond

func TestHeaderThatNeverEnds(t *testing.T) {
	h := start(t, Options{Times: Times{Header: shortTime}})
	for i, text := range []string{"G", "GET /v1/status HTTP/1.1\r\n", "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-A: b"} {
		p := wantProblem(t, parse(t, h.say(text, false)), ipc.KindRequestTimeout)
		if got := h.refusedSoFar(); got.Slow != int64(i+1) || p.Detail == "" {
			t.Errorf("counters %+v after %d", got, i+1)
		}
	}
	if text := h.say("", false); text != "" {
		t.Errorf("a silent connection was told %q", text)
	}
}

// The same on a connection that has had an answer before.
func TestSecondHeaderThatNeverEnds(t *testing.T) {
	h := start(t, Options{Times: Times{Header: shortTime}})
	c := h.dial()
	br := bufio.NewReader(c)
	_, _ = io.WriteString(c, "GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("first answer: %v %v", resp, err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	_, _ = io.WriteString(c, "GET /v1/health HTTP/1.1\r\nHost: lo")
	rest, err := io.ReadAll(br)
	if err != nil {
		t.Fatal(err)
	}
	_ = wantProblem(t, parse(t, string(rest)), ipc.KindRequestTimeout)
}

func TestBodyThatNeverEnds(t *testing.T) {
	h := start(t, Options{Times: Times{Body: shortTime}})
	head := "POST /v1/dispatchers/d/notify HTTP/1.1\r\nHost: localhost\r\n"
	for _, text := range []string{head + "Content-Length: 5\r\n\r\n{", head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"} {
		_ = wantProblem(t, parse(t, h.say(text, false)), ipc.KindRequestTimeout)
	}
	if h.back.called("Notify") {
		t.Error("half a body reached the backend")
	}
	if got := h.refusedSoFar(); got.Slow != 2 {
		t.Errorf("counters %+v", got)
	}
}

func TestIdleConnectionIsClosed(t *testing.T) {
	h := start(t, Options{Times: Times{Idle: shortTime}})
	text := h.say("GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n", false)
	if got := parse(t, text); got.status != 200 {
		t.Errorf("status %d", got.status)
	}
}

// endless is an output without end.
type endless struct{ closed chan struct{} }

func (e *endless) Read(b []byte) (int, error) {
	return copy(b, bytes.Repeat([]byte("y\n"), len(b)/2)), nil
}
func (e *endless) Close() error { close(e.closed); return nil }

// A reader that never reads is cut off, and what it held is given back.
func TestReaderThatNeverReads(t *testing.T) {
	h := start(t, Options{Times: Times{Write: shortTime}})
	out := &endless{closed: make(chan struct{})}
	h.back.add(ipc.Running).out = out
	c := h.dial()
	_, _ = io.WriteString(c, request("GET", "/v1/jobs/J1/log?follow=true", ""))
	await(t, out.closed, "the end of the output")
	if got := h.refusedSoFar(); got.Slow != 1 {
		t.Errorf("counters %+v", got)
	}
}

// The bounds of a request do not bound a wait: it lasts as long as it was asked
// to, with and without a body, first and second on a connection.
func TestLongWaitIsNotCut(t *testing.T) {
	h := start(t, Options{Times: Times{Header: shortTime, Body: shortTime, Write: shortTime, Idle: shortTime, Call: shortTime}})
	h.back.add(ipc.Running)
	const wait = 3 * shortTime
	for range 2 {
		for path, body := range map[string]string{
			"/v1/dispatchers/d/notify?wait=" + wait.String(): `{"arguments":1}`, "/v1/jobs/J1?wait=" + wait.String(): "", "/v1/drain?wait=" + wait.String(): "",
		} {
			method := "GET"
			if body != "" || strings.Contains(path, "drain") {
				method = "POST"
			}
			began := time.Now()
			got := h.do(method, path, body)
			if took := time.Since(began); took < wait || got.status >= 300 {
				t.Errorf("%s: status %d after %v", path, got.status, took)
			}
		}
	}
}

// A backend that hangs does not hold a client for ever.
func TestBackendThatHangs(t *testing.T) {
	hung := &hanging{newMemory()}
	h := startServer(t, hung.memory, func(Backend) *Server { return New(hung, Options{Times: Times{Call: shortTime}}) })
	_ = wantProblem(t, h.do("POST", "/v1/reload", ""), ipc.KindInternal)
	_ = wantProblem(t, h.do("POST", "/v1/dispatchers/d/notify", ""), ipc.KindInternal)
}
