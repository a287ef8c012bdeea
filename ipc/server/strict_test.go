package server

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// What net/http takes, and RFC 9112 does not.
func TestNotHTTPToTheLetter(t *testing.T) {
	h := start(t, Options{})
	const host = "Host: localhost\r\nConnection: close\r\n"
	for name, text := range map[string]string{
		"bare LF in the request line": "GET /v1/health HTTP/1.1\n" + host + "\r\n",
		"bare LF in the header":       "GET /v1/health HTTP/1.1\r\nHost: localhost\nConnection: close\r\n\r\n",
		"bare LF at the header's end": "GET /v1/health HTTP/1.1\r\n" + host + "\n",
		"only bare LF":                "GET /v1/health HTTP/1.1\nHost: localhost\n\n",
		"folded by a space":           "GET /v1/health HTTP/1.1\r\nX-A: b\r\n c\r\n" + host + "\r\n",
		"folded by a tab":             "GET /v1/health HTTP/1.1\r\nX-A: b\r\n\tc\r\n" + host + "\r\n",
		"folded first line":           "GET /v1/health HTTP/1.1\r\n X-A: b\r\n" + host + "\r\n",
		"folded to nothing":           "GET /v1/health HTTP/1.1\r\nX-A: b\r\n \r\n" + host + "\r\n",
		"bare CR":                     "GET /v1/health HTTP/1.1\r\nX-A: b\rX-B: c\r\n" + host + "\r\n",
		"behind another":              "GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /v1/health HTTP/1.1\n" + host + "\r\n",
		"behind a body":               "POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n{}\nGET /v1/health HTTP/1.1\n" + host + "\r\n",
	} {
		text := h.say(text, false)
		_, last, found := strings.Cut(text, "HTTP/1.1 400")
		if !found || !strings.Contains(last, `"kind":"bad_request"`) || !strings.Contains(last, "RFC 9112") {
			t.Errorf("%s: answered %q", name, text)
		}
	}
	// Bodies are nobody's lines.
	if got := parse(t, h.say(request("POST", "/v1/dispatchers/d/notify", "{\n \"arguments\":\n\t1}\n\n"), false)); got.status != 202 {
		t.Errorf("a body of several lines: %d %s", got.status, got.body)
	}
	c := h.dial()
	br := bufio.NewReader(c)
	for i, one := range []string{"GET /v1/health HTTP/1.1\r\nHost: d\r\n\r\n", "POST /v1/reload HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\n\r\n{}\n", "GET /v1/health HTTP/1.1\r\nHost: d\r\n\r\n"} {
		for _, piece := range strings.SplitAfter(one, "\r") { // in pieces, as they may come
			_, _ = io.WriteString(c, piece)
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("request %d of one connection: %v, %v", i+1, resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

// A request with two lengths is served, and nothing behind it is (RFC 9112 section
// 6.3).
func TestTwoLengths(t *testing.T) {
	h := start(t, Options{})
	text := h.say("POST /v1/reload HTTP/1.1\r\nHost: d\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/health HTTP/1.1\r\nHost: d\r\n\r\n", false)
	if got := parse(t, text); got.status != 200 { // parse fails where another answer follows
		t.Errorf("%d %s", got.status, got.body)
	}
}

// What a body is, is looked at, also where a route reads none.
func TestMediaTypes(t *testing.T) {
	h := start(t, Options{})
	for _, c := range []struct {
		body, header string
		status       int
	}{
		{"", "Content-Type: text/plain", 415},
		{`{"arguments":1}`, "Content-Type: text/plain;charset=UTF-8", 415},
		{`{"arguments":1}`, "Content-Type: multipart/form-data; boundary=x", 415},
		{`{"arguments":1}`, "Content-Type: nonsense/", 415},
		{"", "Content-Type: ;", 415},
		{`{"arguments":1}`, "Content-Encoding: gzip", 415},
		{`{"arguments":1}`, "Content-Encoding: identity", 202},
		{`{"arguments":1}`, "Content-Type: application/json; charset=utf-8", 202},
		{`{"arguments":1}`, "Content-Type: Application/JSON", 202},
		{`{"arguments":1}`, "Content-Type: application/problem+json", 202},
		{`{"arguments":1}`, "Content-Type: application/x-www-form-urlencoded", 202}, // curl -d
		{"", "Content-Type: application/x-www-form-urlencoded", 202},
		{`{"arguments":1}`, "Accept: */*", 202},
	} {
		if got := h.do("POST", "/v1/dispatchers/d/notify", c.body, c.header); got.status != c.status {
			t.Errorf("%q with %s: %d %s", c.body, c.header, got.status, got.body)
		}
	}
	_ = wantProblem(t, h.do("POST", "/v1/drain", "", "Content-Type: text/plain"), ipc.KindUnsupportedMedia)
}

// A client that has closed its sending side is answered: a notify at once with
// the accepted job, what else waits when it ends. Its holding a job goes on, too.
func TestHalfClosedWaits(t *testing.T) {
	back := abandoning{newMemory(), make(chan string, 10)}
	h := startServer(t, back.memory, func(Backend) *Server { return New(back, Options{}) })
	for i, body := range []string{"", `{"arguments":1}`} {
		got := parse(t, h.say(request("POST", "/v1/dispatchers/d/notify?wait=true", body), true))
		n := decode[ipc.Notified](t, got, 202)
		if n.State != ipc.Queued || got.header.Get("Location") == "" {
			t.Errorf("%d: %+v", i, n)
		}
	}
	chunked := "POST /v1/dispatchers/d/notify?wait=true HTTP/1.1\r\nHost: d\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
	decode[ipc.Notified](t, parse(t, h.say(chunked, true)), 202)
	decode[ipc.Notified](t, parse(t, h.say(request("POST", "/v1/dispatchers/d/notify?bound=true", ""), true)), 202)

	for _, path := range []string{"GET /v1/jobs/J1?wait=true", "POST /v1/jobs/J2/hold"} {
		method, path, _ := strings.Cut(path, " ")
		answer := make(chan string, 1)
		for len(h.back.waits) > 0 {
			<-h.back.waits
		}
		c := h.dial()
		_, _ = io.WriteString(c, request(method, path, ""))
		await(t, h.back.waits, "the wait")
		_ = c.CloseWrite()
		go func() {
			text, _ := io.ReadAll(c)
			answer <- string(text)
		}()
		e, _ := h.back.find(path[9:11])
		h.back.end(e, ipc.Succeeded)
		if j := decode[ipc.Job](t, parse(t, await(t, answer, "the answer")), 200); j.State != ipc.Succeeded {
			t.Errorf("%s: %s", path, j.State)
		}
	}
	// Who closes all of it is gone, also behind a half.
	e := h.back.add(ipc.Running)
	for len(h.back.waits) > 0 {
		<-h.back.waits
	}
	c := h.dial()
	_, _ = io.WriteString(c, request("POST", "/v1/jobs/"+e.job.ID+"/hold", ""))
	await(t, h.back.waits, "the hold")
	_ = c.CloseWrite()
	_ = c.Close()
	if id := await(t, back.abandoned, "the end of the holder"); id != e.job.ID {
		t.Errorf("%s is abandoned", id)
	}
}

// A log that is followed goes on for a reader that has closed its sending side.
func TestHalfClosedFollower(t *testing.T) {
	h := start(t, Options{})
	out, in := io.Pipe()
	h.back.add(ipc.Running).out = out
	c := h.dial()
	_, _ = io.WriteString(c, request("GET", "/v1/jobs/J1/log?follow=true", ""))
	_ = c.CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	go func() {
		_, _ = io.WriteString(in, "one\ntwo\n")
		_ = in.Close()
	}()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "one\ntwo\n" {
		t.Errorf("%q, %v", text, err)
	}
}

// impatient is a backend whose waits end with an error.
type impatient struct {
	*memory
	err error
}

func (i *impatient) Await(context.Context, ipc.Peer, string) (ipc.Job, error) {
	return ipc.Job{}, i.err
}

// Whatever ends the wait of an accepted notify, its answer is the job.
func TestAcceptedIsNeverRefused(t *testing.T) {
	back := &impatient{memory: newMemory()}
	h := startServer(t, back.memory, func(Backend) *Server { return New(back, Options{}) })
	for _, err := range []error{
		context.Canceled, context.DeadlineExceeded, ipc.Errorf(ipc.KindDraining, "stopping"), ipc.Errorf(ipc.KindJobUnknown, "gone"), io.ErrUnexpectedEOF,
	} {
		back.err = err
		n := decode[ipc.Notified](t, h.do("POST", "/v1/dispatchers/d/notify?wait=1h", ""), 202)
		if n.ID == "" {
			t.Errorf("%v: %+v", err, n)
		}
	}
}

// Each answer with a job says in its header what a shell wants to know, and fail
// makes a failed one an error.
func TestJobHeaders(t *testing.T) {
	h := start(t, Options{})
	e := h.back.add(ipc.Running)
	got := h.do("GET", "/v1/jobs/J1?fail=true", "")
	if got.status != 200 || got.header.Get(ipc.JobHeader) != "J1" || got.header.Get(ipc.StateHeader) != "running" || got.header.Get(ipc.ExitHeader) != "" {
		t.Errorf("%d %v", got.status, got.header)
	}
	e.job.Signal, e.job.Error = "SIGKILL", &ipc.JobError{Kind: ipc.KindSignaled}
	h.back.end(e, ipc.Failed)
	for path, want := range map[string]int{"/v1/jobs/J1": 200, "/v1/jobs/J1?fail=true": 424, "/v1/jobs/J1?wait=1s&fail": 424, "/v1/jobs/J1?fail=false": 200} {
		got := h.do("GET", path, "")
		if got.status != want || got.header.Get(ipc.StateHeader) != "failed" || got.header.Get(ipc.ExitHeader) != "137" || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v", path, got.status, got.header)
		}
	}
	answer := h.later("POST", "/v1/dispatchers/d/notify?wait=true&fail=true")
	for len(h.back.waits) > 0 {
		<-h.back.waits
	}
	await(t, h.back.waits, "the wait")
	e, _ = h.back.find("J2")
	h.back.end(e, ipc.TimedOut)
	if got := await(t, answer, "the answer"); got.status != 424 || got.header.Get(ipc.ExitHeader) != "124" || got.header.Get("Location") != "/v1/jobs/J2" {
		t.Errorf("%d %v", got.status, got.header)
	}
	if got := h.do("POST", "/v1/dispatchers/d/notify?fail=true", ""); got.status != 202 || got.header.Get(ipc.StateHeader) != "queued" {
		t.Errorf("not ended: %d %v", got.status, got.header)
	}
}

// A browser that asks by itself, as for a picture, starts nothing.
func TestBrowsersGetWhatIsThere(t *testing.T) {
	h := start(t, Options{})
	for header, want := range map[string]bool{
		"User-Agent: Mozilla/5.0 (X11)": true, "Accept-Language: de": true, "Sec-Fetch-Site: none": true, "Sec-Ch-Ua: x": true,
		"User-Agent: curl/8.5.0": false, "Accept: */*": false,
	} {
		h.do("GET", "/v1/caches/d?max_age=0s", "", header)
		if got := h.back.last().Arg; strings.Contains(got, `"NoRefresh":true`) != want {
			t.Errorf("%s: asked for %s", header, got)
		}
	}
	h.do("POST", "/v1/caches/d/refresh", "", "User-Agent: Mozilla/5.0")
	if got := h.back.last().Arg; !strings.Contains(got, `"NoRefresh":false,"Insists":true`) {
		t.Errorf("by POST: asked for %s", got)
	}
}

// Every kind is explained where its type says.
func TestProblemTypes(t *testing.T) {
	h := start(t, Options{})
	for _, k := range ipc.Kinds() {
		got := decode[ProblemType](t, h.do("GET", "/problems/"+string(k), ""), 200)
		if got.Meaning == "" || got.Kind != k || got.Status != k.Status() || got.ExitCode != k.ExitCode() || got.Type != "/problems/"+string(k) {
			t.Errorf("%s: %+v", k, got)
		}
	}
}
