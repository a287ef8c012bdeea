package server

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// A body is taken if and only if it is one object with nothing but at most one
// "arguments", and then its value comes out as it was.
func FuzzArguments(f *testing.F) {
	for _, s := range []string{
		``, ` `, `{}`, `{"arguments":null}`, `{"arguments": {"a": [1, 2.5e3, "ü\u0000", true]}}`, `{"argumentſ":1}`, `{"Arguments":1}`,
		`{"arguments":1,"arguments":1}`, `{"arguments":1}{}`, `{"arguments":1} `, `[]`, `null`, `"arguments"`, `{"arguments":}`, `{"arguments":1,}`,
		`{"\u0061rguments":1}`, `{"arguments":"` + "\xff" + `"}`, `{"arguments":1`, `{"a":{"arguments":1}}`, `{,"arguments":1}`, "\ufeff{}", `{"arguments":01}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		args, err := argumentsOf(raw)
		var whole map[string]json.RawMessage
		fits := json.Unmarshal(raw, &whole) == nil && whole != nil && len(whole) <= 1
		if _, has := whole["arguments"]; fits && len(whole) == 1 && !has {
			fits = false
		}
		switch {
		case err != nil:
			wantKind(t, err, ipc.KindBadRequest)
			if fits && len(whole) == 0 {
				t.Errorf("refused: %v", err)
			}
		case len(bytes.TrimSpace(raw)) == 0:
			if args != nil {
				t.Errorf("no body has the arguments %q", args)
			}
		case !fits:
			t.Errorf("taken: %q", raw)
		case !bytes.Equal(args, whole["arguments"]):
			t.Errorf("arguments %q, want %q", args, whole["arguments"])
		}
	})
}

func FuzzWait(f *testing.F) {
	for _, s := range []string{"", "true", "false", "0", "1", "30s", "1h30m", "-1s", "0s", "1", "30", "1e9s", "9223372036854775807ns", "9223372036854775808ns", "NaN", "+5s", " 5s", ".5s", "true "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, waits, err := parseWait(s)
		switch {
		case err != nil:
			wantKind(t, err, ipc.KindBadRequest)
			if waits || d != 0 || len(err.Error()) > 400 {
				t.Errorf("%v %v %q", d, waits, err)
			}
		case d < 0, d > 0 && !waits:
			t.Errorf("%q gives %v, %v", s, d, waits)
		case d > 0:
			if again, err := time.ParseDuration(s); err != nil || again != d {
				t.Errorf("%q gives %v", s, d)
			}
		}
	})
}

// A query that passes means to a handler what it means to everybody.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"", "a", "a&b=1", "a=1&a=2", "a=%zz", "a;b", "&&a", "=", "=1", "a=&b", "%61=1&a=2", "a=b=c", "+=+"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		out, err := strictQuery(raw)
		if err != nil {
			wantKind(t, err, ipc.KindBadRequest)
			return
		}
		before, _ := url.ParseQuery(raw)
		after, err := url.ParseQuery(out)
		if err != nil || len(before) != len(after) {
			t.Fatalf("%q became %q", raw, out)
		}
		for name, v := range before {
			if after[name][0] != v[0] && (v[0] != "" || after[name][0] != "true") {
				t.Errorf("%q became %q: %q", raw, out, name)
			}
		}
	})
}

// Whatever comes over the wire: each answer is whole, each error a problem, and
// the server goes on.
func FuzzConnection(f *testing.F) {
	for _, s := range []string{
		"", "G", "GET / HTTP/1.1\r\n\r\n", request("GET", "/v1/health", ""), request("POST", "/v1/dispatchers/d/notify", `{"arguments":1}`),
		request("HEAD", "/v1/nothing", ""), "GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\ngarbage\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n", "GET * HTTP/1.0\r\nHost:0\r\nExpect: 0", "OPTIONS * HTTP/1.0\r\n\r\n",
		request("POST", "/v1/reload", "", "Transfer-Encoding: chunked") + "5\r\nabcde\r\n0\r\n\r\n", request("GET", "/v1/jobs?limit=%31&x", "", "Expect: 100-continue"),
		"GET http://localhost/v1/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	back := newMemory()
	s := New(back, Options{Times: Times{Header: shortTime, Body: shortTime, Idle: shortTime}})
	pipes := make(chan net.Conn)
	l := pipeListener{pipes, make(chan struct{})}
	go func() { _ = s.Serve(l) }()
	f.Cleanup(func() { _ = s.http.Close() })
	f.Fuzz(func(t *testing.T, raw []byte) {
		if bytes.Contains(raw, []byte("wait")) || bytes.Contains(raw, []byte("follow")) {
			t.Skip("may wait for what does not come")
		}
		mine, theirs := socketPair(t)
		pipes <- theirs
		go func() {
			_, _ = mine.Write(raw)
			_, _ = io.WriteString(mine, "\r\n\r\n")
		}()
		method, _, _ := strings.Cut(string(raw), " ")
		br := bufio.NewReader(mine)
		for first := true; ; first = false {
			resp, err := http.ReadResponse(br, &http.Request{Method: map[bool]string{true: method, false: "GET"}[first]})
			if err != nil {
				if rest, _ := io.ReadAll(br); len(rest) > 0 && first {
					t.Errorf("not an answer: %q", rest)
				}
				break
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				break
			}
			if resp.StatusCode >= 300 && (resp.Header.Get("Content-Type") != "application/problem+json" || resp.StatusCode < 400) {
				t.Errorf("status %d, %v\n%s", resp.StatusCode, resp.Header, body)
			}
			if !first {
				break
			}
		}
		_ = mine.Close()
	})
}

// socketPair is a connection with both ends, as the kernel makes it.
func socketPair(t *testing.T) (a, b net.Conn) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]net.Conn, 2)
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socketpair")
		if ends[i], err = net.FileConn(file); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
	}
	return ends[0], ends[1]
}

// pipeListener accepts what a test hands it.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error   { close(l.closed); return nil }
func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }
