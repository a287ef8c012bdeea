package client

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"dispatchd/ipc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen is one request as the daemon got it.
type seen struct{ Line, Key, Type, Body string }

// daemon is a socket behind which the test answers.
type daemon struct {
	t      *testing.T
	path   string
	mu     sync.Mutex
	seen   []seen
	server *http.Server
	done   chan struct{}
}

// newDaemon listens on a socket of its own.
func newDaemon(t *testing.T, answer http.HandlerFunc) (*daemon, *Client) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cli")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, path: filepath.Join(dir, "s")}
	d.start(answer)
	c := &Client{Socket: d.path}
	t.Cleanup(func() {
		c.Close()
		d.stop()
		_ = os.RemoveAll(dir)
	})
	return d, c
}

// start listens, also again after a stop.
func (d *daemon) start(answer http.HandlerFunc) {
	d.t.Helper()
	l, err := net.Listen("unix", d.path)
	if err != nil {
		d.t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		d.mu.Lock()
		d.seen = append(d.seen, seen{r.Method + " " + r.RequestURI, r.Header.Get("Idempotency-Key"), r.Header.Get("Content-Type"), string(body)})
		d.mu.Unlock()
		w.Header().Set(ipc.APIHeader, ipc.SpokenAPI())
		answer(w, r)
	})
	d.server, d.done = &http.Server{Handler: handler}, make(chan struct{})
	go func(s *http.Server, done chan struct{}) {
		defer close(done)
		_ = s.Serve(l)
	}(d.server, d.done)
}

// stop ends the daemon as kill -9 does: every connection breaks off.
func (d *daemon) stop() {
	_ = d.server.Close()
	<-d.done
}

// requests are those that came so far.
func (d *daemon) requests() []seen {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]seen{}, d.seen...)
}

// says answers with a value.
func says(status int, v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
}

// breaks is a daemon that dies after it has read the request.
func breaks(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// inTurn answers one request after another, the last one for all that follow.
func inTurn(answers ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		answer := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		mu.Unlock()
		answer(w, r)
	}
}

// wantKind checks an error's kind and what it says.
func wantKind(t *testing.T, err error, k ipc.Kind, says string) *ipc.Error {
	t.Helper()
	p, ok := errors.AsType[*ipc.Error](err)
	if !ok || p.Kind != k || !strings.Contains(p.Detail, says) {
		t.Fatalf("error %#v (%v), want kind %s that says %q", err, err, k, says)
	}
	return p
}
