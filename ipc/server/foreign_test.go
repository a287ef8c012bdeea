package server

import (
	"strings"
	"testing"

	"dispatchd/ipc"
)

// Whatever a web page can make a browser or a proxy on this machine send is
// refused, on every route.
func TestForeignRequestsAreRefused(t *testing.T) {
	h := start(t, Options{})
	foreign := [][]string{
		{"Host: evil.example"},
		{"Host: localhost.evil.example"},
		{"Host: 127.0.0.1"},
		{"Host: localhost:8080"},
		{"Origin: http://evil.example"},
		{"Origin: null"},
		{"Origin: http://localhost"},
		{"Origin: ", "Origin: http://evil.example"},
		{"Sec-Fetch-Site: cross-site"},
		{"Sec-Fetch-Site: same-site"},
		{"Sec-Fetch-Site: same-origin"},
		{"Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"},
	}
	n := int64(0)
	for _, r := range routes() {
		path := strings.NewReplacer("{name}", "d", "{id}", "J1").Replace(r.path)
		for _, headers := range foreign {
			got := h.do(r.method, path, "", headers...)
			_ = wantProblem(t, got, ipc.KindForbidden)
			if n++; t.Failed() {
				t.Fatalf("%s with %q", r.id, headers)
			}
		}
	}
	h.back.mu.Lock()
	if len(h.back.calls) != 0 {
		t.Errorf("the backend was called: %v", h.back.calls)
	}
	h.back.mu.Unlock()
	if got := h.refusedSoFar(); got.Foreign != n {
		t.Errorf("%d were counted of %d", got.Foreign, n)
	}
}

func TestOwnRequestsPass(t *testing.T) {
	h := start(t, Options{})
	for _, headers := range [][]string{nil, {"Host: localhost"}, {"Host: dispatchd"}, {"Host: unix"}, {"Sec-Fetch-Site: none"}} {
		if got := h.do("GET", "/v1/health", "", headers...); got.status != 200 {
			t.Errorf("%q: status %d", headers, got.status)
		}
	}
	if got := parse(t, h.say("GET /v1/health HTTP/1.0\r\n\r\n", false)); got.status != 200 {
		t.Errorf("HTTP/1.0 without a host: status %d", got.status)
	}
}

// A refused request whose body never comes does not hold its connection.
func TestRefusedRequestIsNotWaitedFor(t *testing.T) {
	h := start(t, Options{Times: Times{Body: shortTime}})
	text := h.say("POST /v1/reload HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 100\r\n\r\nabc", false)
	_ = wantProblem(t, parse(t, text), ipc.KindForbidden)
}
