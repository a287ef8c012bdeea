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
		{"Host: 127.0.0.1:80"},
		{"Host: d.example:80"},
		{"Host: localhost."},
		{"Host: .localhost"},
		{"Host: localhost:x"},
		{"Host: localhost:80:80"},
		{"Host: localhost:99999"},
		{"Host: a%2eb"},
		{"Host: [2001:db8::1]"},
		{"Host: [2001:db8::1]:80"},
		{"Host: [::ffff:127.0.0.1]"},
		{"Host: [localhost]"},
		{"Host: [::1"},
		{"Host: ::1"},
		{"Referer: http://evil.example/page"},
		{"Referer: https://localhost.evil.example/"},
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
		path := strings.NewReplacer("{name}", "d", "{id}", "J1", "{kind}", "draining").Replace(r.path)
		for _, headers := range foreign {
			got := h.do(r.method, path, "", headers...)
			if got.status == 200 {
				t.Fatalf("%s with %q is answered", r.id, headers)
			}
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
	for _, headers := range [][]string{
		nil,
		{"Host: localhost"},
		{"Host: dispatchd"},
		{"Host: unix"},
		{"Sec-Fetch-Site: none"},
		{"Host: d"},
		{"Host: D"},
		{"Host: docker"},
		{"Host: localhost:80"},
		{"Host: d:8080"},
		{"Host: localhost:"},
		{"Host: :80"},
		{"Host: under_score-1"},
		{"Host: [::1]"},
		{"Host: [::1]:8080"},
		{"Referer: http://localhost:8080/"},
	} {
		if got := h.do("GET", "/v1/health", "", headers...); got.status != 200 {
			t.Errorf("%q: status %d", headers, got.status)
		}
	}
	for _, empty := range []string{"Host:\r\n", "Host: \r\n"} {
		if got := parse(t, h.say("GET /v1/health HTTP/1.1\r\n"+empty+"Connection: close\r\n\r\n", false)); got.status != 200 {
			t.Errorf("an empty host: status %d", got.status)
		}
	}
	// A client may take a zone out, so it is sent by hand.
	_ = wantProblem(t, parse(t, h.say("GET /v1/health HTTP/1.1\r\nHost: [::1%eth0]\r\nConnection: close\r\n\r\n", false)), ipc.KindForbidden)
	// In the absolute form the target names the host (RFC 9112 section 3.2.2).
	_ = wantProblem(t, parse(t, h.say("GET http://evil.example/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", false)), ipc.KindForbidden)
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
