package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// What a client gets wrong with well-formed HTTP.
func TestProblems(t *testing.T) {
	h := start(t, Options{})
	h.back.add(ipc.Running)
	long := strings.Repeat("x", 300)
	const notify = "/v1/dispatchers/d/notify"
	cases := []struct {
		method, path, body string
		kind               ipc.Kind
		says               string
	}{
		{"DELETE", "/v1/jobs", "", ipc.KindMethodNotAllowed, "only GET, HEAD"},
		{"PUT", notify, "{}", ipc.KindMethodNotAllowed, "only POST"},
		{"GET", notify, "", ipc.KindMethodNotAllowed, "only POST"},
		{"OPTIONS", "/v1/jobs", "", ipc.KindMethodNotAllowed, "OPTIONS"},
		{"GET", "/problems/nothing", "", ipc.KindNotFound, "nothing"},
		{"GET", "/problems", "", ipc.KindNotFound, "/openapi.json"},
		{"GET", "/v1/nothing", "", ipc.KindNotFound, "/v1/nothing"},
		{"GET", "/v1/status/", "", ipc.KindNotFound, ""},
		{"GET", "//v1/status", "", ipc.KindNotFound, ""},
		{"GET", "/v1/./status", "", ipc.KindNotFound, ""},
		{"POST", "/v1/dispatchers/../d/notify", "", ipc.KindNotFound, ""},
		{"POST", "/v1/dispatchers//notify", "", ipc.KindNotFound, ""},
		{"GET", "/v1/dispatchers/" + long, "", ipc.KindBadRequest, "path.name"},
		{"GET", "/v1/jobs/" + long, "", ipc.KindBadRequest, "path.id"},
		{"GET", "/v1/jobs/J9", "", ipc.KindJobUnknown, "J9"},
		{"GET", "/v1/jobs/J9?wait=1s", "", ipc.KindJobUnknown, "J9"},
		{"GET", "/v1/jobs/J9/log", "", ipc.KindJobUnknown, "J9"},
		{"GET", "/v1/jobs?limit=many", "", ipc.KindBadRequest, `query.limit "many": invalid integer`},
		{"GET", "/v1/jobs?limit=0", "", ipc.KindBadRequest, "query.limit"},
		{"GET", "/v1/jobs?limit=1001", "", ipc.KindBadRequest, "query.limit"},
		{"GET", "/v1/jobs?state=done", "", ipc.KindBadRequest, "query.state"},
		{"GET", "/v1/jobs?since=yesterday", "", ipc.KindBadRequest, "query.since"},
		{"GET", "/v1/jobs?limt=3", "", ipc.KindBadRequest, "query.limt"},
		{"GET", "/v1/jobs?limit=3&limit=4", "", ipc.KindBadRequest, "given 2 times"},
		{"GET", "/v1/jobs?limit=%zz", "", ipc.KindBadRequest, "query"},
		{"GET", "/v1/jobs?limit=3;state=queued", "", ipc.KindBadRequest, "query"},
		{"GET", "/v1/jobs/J1/log?from=-1", "", ipc.KindBadRequest, "query.from"},
		{"GET", "/v1/jobs/J1/log?follow=maybe", "", ipc.KindBadRequest, "query.follow"},
		{"GET", "/v1/jobs/J1?wait=ever", "", ipc.KindBadRequest, "wait"},
		{"GET", "/v1/jobs/J1?wait=-5s", "", ipc.KindBadRequest, "wait"},
		{"GET", "/v1/jobs/J1?wait=0s", "", ipc.KindBadRequest, "wait"},
		{"GET", "/v1/jobs/J1?wait=30", "", ipc.KindBadRequest, "wait"},
		{"POST", "/v1/drain?wait=soon", "", ipc.KindBadRequest, "wait"},
		{"POST", notify + "?wait=soon", "", ipc.KindBadRequest, "wait"},
		{"POST", notify, "arguments", ipc.KindBadRequest, "not JSON"},
		{"POST", notify, `{"arguments": `, ipc.KindBadRequest, "not JSON"},
		{"POST", notify, `{"arguments": {"a": 1}`, ipc.KindBadRequest, "not JSON"},
		{"POST", notify, `{"arguments": {]}`, ipc.KindBadRequest, "not JSON"},
		{"POST", notify, `[1]`, ipc.KindBadRequest, "not an object"},
		{"POST", notify, `{"Arguments": 1}`, ipc.KindBadRequest, "Arguments"},
		{"POST", notify, `{"args": 1}`, ipc.KindBadRequest, "args"},
		{"POST", notify, `{"arguments": 1, "arguments": 2}`, ipc.KindBadRequest, "arguments"},
		{"POST", notify, `{"arguments": 1} {}`, ipc.KindBadRequest, "follows"},
		{"POST", notify, `{"arguments": ` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}", ipc.KindBadRequest, "depth"},
		{"POST", notify, strings.Repeat("x", 10<<20), ipc.KindBodyTooLarge, "1048576"},
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s %.60s %.20s", c.method, c.path, c.body), func(t *testing.T) {
			h.t = t
			if p := wantProblem(t, h.do(c.method, c.path, c.body), c.kind); !strings.Contains(p.Detail, c.says) {
				t.Errorf("detail %q does not say %q", p.Detail, c.says)
			}
		})
	}
	if h.back.called("Notify") {
		t.Error("a bad notify reached the backend")
	}
	if got := h.do("POST", "/v1/jobs", "").header.Get("Allow"); got != "GET, HEAD" {
		t.Errorf("Allow is %q", got)
	}
}

// What is no proper HTTP, and what net/http refuses by itself.
func TestRawProblems(t *testing.T) {
	h := start(t, Options{})
	host := "Host: localhost\r\n"
	cases := map[string]struct {
		text string
		kind ipc.Kind
		says string
	}{
		"garbage":              {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n", ipc.KindBadRequest, ""},
		"no version":           {"GET /v1/status\r\n\r\n", ipc.KindBadRequest, ""},
		"half a line":          {"GET /v1/sta", ipc.KindBadRequest, ""},
		"half a header":        {"GET /v1/status HTTP/1.1\r\nHost: loc", ipc.KindBadRequest, ""},
		"half a body":          {"POST /v1/reload HTTP/1.1\r\n" + host + "Content-Length: 10\r\n\r\nabc", ipc.KindBadRequest, "broke off after 3 bytes"},
		"half a chunk":         {"POST /v1/reload HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\na\r\nabc", ipc.KindBadRequest, "broke off after 3 bytes"},
		"bad chunk":            {"POST /v1/reload HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", ipc.KindBadRequest, "broke off"},
		"no host":              {"GET /v1/status HTTP/1.1\r\n\r\n", ipc.KindBadRequest, "Host"},
		"two hosts":            {"GET /v1/status HTTP/1.1\r\n" + host + host + "\r\n", ipc.KindBadRequest, ""},
		"bad header":           {"GET /v1/status HTTP/1.1\r\n" + host + "a b: c\r\n\r\n", ipc.KindBadRequest, "header"},
		"bad escape":           {"GET /v1/jobs/%zz HTTP/1.1\r\n" + host + "\r\n", ipc.KindBadRequest, ""},
		"two lengths":          {"POST /v1/reload HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", ipc.KindBadRequest, ""},
		"unknown encoding":     {"POST /v1/reload HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n\r\n", ipc.KindBadRequest, "chunked"},
		"unknown expectation":  {"POST /v1/reload HTTP/1.1\r\n" + host + "Expect: tea\r\n\r\n", ipc.KindBadRequest, "expects"},
		"HTTP/3":               {"GET /v1/status HTTP/3.0\r\n" + host + "\r\n", ipc.KindBadRequest, ""},
		"HTTP/2 preface":       {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ipc.KindNotFound, ""},
		"OPTIONS *":            {"OPTIONS * HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", ipc.KindNotFound, ""},
		"CONNECT":              {"CONNECT localhost HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", ipc.KindNotFound, ""},
		"own method":           {request("NOTIFY", "/v1/dispatchers/d/notify", ""), ipc.KindMethodNotAllowed, "NOTIFY"},
		"dots":                 {request("POST", "/v1/dispatchers/../../notify", ""), ipc.KindNotFound, ""},
		"4,000 bytes":          {request("GET", "/v1/status", "", "X-A: "+strings.Repeat("a", 4000)), ipc.KindHeaderTooLarge, "3072"},
		"many small headers":   {request("GET", "/v1/status", "", strings.Repeat("X-A: b\r\n", 400)+"X-B: c"), ipc.KindHeaderTooLarge, "3072"},
		"a long target":        {request("GET", "/v1/jobs?before="+strings.Repeat("a", 3500), ""), ipc.KindHeaderTooLarge, "3072"},
		"20,000 bytes":         {request("GET", "/v1/status", "", "X-A: "+strings.Repeat("a", 20000)), ipc.KindHeaderTooLarge, "3072"},
		"a header without end": {"GET /v1/status HTTP/1.1\r\n" + host + "X-A: " + strings.Repeat("a", 1<<20), ipc.KindHeaderTooLarge, "3072"},
		"chunked 10 MiB":       {"POST /v1/reload HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\na00000\r\n" + strings.Repeat("x", 10<<20) + "\r\n0\r\n\r\n", ipc.KindBodyTooLarge, "1048576"},
		"announced 10 MiB":     {"POST /v1/reload HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 10485760\r\n\r\n", ipc.KindBodyTooLarge, "1048576"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h.t = t
			p := wantProblem(t, parse(t, h.say(c.text, true)), c.kind)
			if !strings.Contains(p.Detail, c.says) {
				t.Errorf("detail %q does not say %q", p.Detail, c.says)
			}
		})
	}
	h.t = t
	got := h.refusedSoFar()
	if got.Headers != 5 || got.Bodies != 2 || got.Malformed < 14 || got.Slow != 0 || got.Foreign != 0 || got.Connections != 0 {
		t.Errorf("counters %+v", got)
	}
}

// A second request on a connection is treated like the first one.
func TestProblemOnAKeptConnection(t *testing.T) {
	h := start(t, Options{})
	good := "GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for _, bad := range []string{"garbage\r\n\r\n", request("GET", "/v1/status", "", "X-A: "+strings.Repeat("a", 9000))} {
		text := h.say(good+good+bad, true)
		i := strings.LastIndex(text, "HTTP/1.1 4")
		if i < 0 || strings.Count(text, "HTTP/1.1 200 OK") != 2 {
			t.Fatalf("answers %q", text)
		}
		r := parse(t, text[i:])
		_ = wantProblem(t, r, map[int]ipc.Kind{400: ipc.KindBadRequest, 431: ipc.KindHeaderTooLarge}[r.status])
	}
}

// Each error of the backend keeps its kind.
func TestBackendErrors(t *testing.T) {
	h := start(t, Options{})
	for _, k := range ipc.Kinds() {
		shared := ipc.Errorf(k, "why: %s", k)
		shared.RetryAfter, shared.Suggestion, shared.Dispatcher, shared.Holder, shared.Job = 17, "do this", "d", "me", "J1"
		before := *shared
		h.back.fail["Notify"] = shared
		p := wantProblem(t, h.do("POST", "/v1/dispatchers/d/notify", ""), k)
		if p.RetryAfter != 17 || p.Suggestion != "do this" || p.Dispatcher != "d" || p.Holder != "me" || p.Job != "J1" || p.Detail != "why: "+string(k) {
			t.Errorf("%s came through as %+v", k, p)
		}
		if *shared != before {
			t.Errorf("%s: the backend's own error was changed", k)
		}
	}
	for err, kind := range map[error]ipc.Kind{
		errors.New("disk on fire"): ipc.KindInternal, context.DeadlineExceeded: ipc.KindInternal,
		fmt.Errorf("wrapped: %w", ipc.Errorf(ipc.KindLocked, "held")): ipc.KindLocked,
		ipc.Errorf(ipc.KindQueueFull, "full"):                         ipc.KindQueueFull,
	} {
		h.back.fail["Status"] = err
		p := wantProblem(t, h.do("GET", "/v1/status", ""), kind)
		if kind == ipc.KindQueueFull && p.RetryAfter != defaultRetry {
			t.Errorf("Retry-After %d where the backend does not know", p.RetryAfter)
		}
	}
}

// Each route passes its backend's error on.
func TestEveryRouteFails(t *testing.T) {
	h := start(t, Options{})
	h.back.add(ipc.Running)
	for _, m := range []string{
		"Notify", "Job", "Jobs", "Log", "Cancel", "Hold", "Retry", "Dispatchers", "Dispatcher", "Pause", "Locks", "Schedule", "Caches", "Cache", "Status", "Health", "Reload", "Drain", "Upgrade",
	} {
		h.back.fail[m] = ipc.Errorf(ipc.KindJournalUnavailable, "no space")
	}
	for _, r := range routes() {
		if isFixed(r.id) {
			continue
		}
		path := strings.NewReplacer("{name}", "d", "{id}", "J1", "{kind}", "draining").Replace(r.path)
		_ = wantProblem(t, h.do(r.method, path, ""), ipc.KindJournalUnavailable)
	}
}

// A job may print what net/http's own complaints look like, at the very start
// of a write: not a byte of an answer is rewritten.
func TestOutputIsNotTakenForAComplaint(t *testing.T) {
	h := start(t, Options{})
	fake := "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
	var want strings.Builder
	var pieces []io.Reader
	for _, size := range []int{32 << 10, 16 << 10, 8 << 10} {
		// Behind a full buffer of net/http's, which begins with the chunk's
		// size in hexadecimal, the rest of a chunk is written by itself.
		head := 4096 - len(fmt.Sprintf("%x\r\n", size))
		text := strings.Repeat("x", head) + fake
		text += strings.Repeat("y", size-len(text))
		want.WriteString(text)
		pieces = append(pieces, strings.NewReader(text))
	}
	e := h.back.add(ipc.Succeeded)
	e.out = io.NopCloser(io.MultiReader(pieces...))
	got := h.do("GET", "/v1/jobs/J1/log", "")
	await(t, h.back.left, "the log's close")
	if got.status != http.StatusOK || string(got.body) != want.String() {
		t.Errorf("status %d, %d bytes came of %d", got.status, len(got.body), want.Len())
	}
}

// A client that writes all before it reads gets to its answer too.
func TestNaiveClientReadsItsRefusal(t *testing.T) {
	h := start(t, Options{})
	c := h.dial()
	text := request("POST", "/v1/dispatchers/d/notify", strings.Repeat("x", 10<<20))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("the body could not be written: %v", err)
	}
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	_ = wantProblem(t, parse(t, string(all)), ipc.KindBodyTooLarge)
}
