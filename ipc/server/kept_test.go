package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"dispatchd/ipc"
)

// instant is a backend that answers at once with the same job.
type instant struct {
	Backend
	job ipc.Job
}

func (i instant) Health(context.Context, ipc.Peer) (ipc.Health, error) {
	return ipc.Health{Status: "ok"}, nil
}

func (i instant) Job(context.Context, ipc.Peer, string) (ipc.Job, error) { return i.job, nil }

func (i instant) Notify(context.Context, ipc.Peer, ipc.NotifyRequest) (ipc.Notified, error) {
	return ipc.Notified{Job: i.job, Position: 1}, nil
}

// plainMux answers with the same bytes as the server, by net/http alone.
func plainMux(body []byte) http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, status int) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}
	mux.HandleFunc("GET /v1/health", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK) })
	mux.HandleFunc("POST /v1/dispatchers/{name}/notify", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		answer(w, http.StatusAccepted)
	})
	return mux
}

// BenchmarkKept is a request and its answer on a kept connection, through the
// server and through a ServeMux of net/http with as long an answer. What a route
// costs above net/http is the difference; the backend answers at once.
func BenchmarkKept(b *testing.B) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 123456789, time.UTC)
	job := ipc.Job{
		ID: "01JDXQ7ZK8S9V4N2M6T3R5W1YA", Dispatcher: "hold", State: ipc.Queued, Arguments: json.RawMessage(`{"id":7}`), Origin: ipc.OriginNotify,
		WaitingFor: &ipc.WaitingFor{Reason: ipc.WaitPaused}, Notifiers: []ipc.Notifier{{Peer: self(), At: at}}, CreatedAt: at,
	}
	text, err := json.Marshal(ipc.Notified{Job: job, Position: 1})
	if err != nil {
		b.Fatal(err)
	}
	notify := "POST /v1/dispatchers/hold/notify HTTP/1.1\r\nHost: dispatchd\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\r\n" + `{"arguments":{"id":7}}`
	ours := func() (func(net.Listener) error, func() error) {
		s := New(instant{job: job}, Options{})
		return s.Serve, s.http.Close
	}
	plain := func() (func(net.Listener) error, func() error) {
		s := &http.Server{Handler: plainMux(append(text, '\n')), ReadHeaderTimeout: time.Minute}
		return s.Serve, s.Close
	}
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: dispatchd\r\n\r\n" }
	for _, c := range []struct {
		name, request string
		server        func() (serve func(net.Listener) error, stop func() error)
	}{
		{"mux/get", get("/v1/health"), plain},
		{"mux/notify", notify, plain},
		{"health", get("/v1/health"), ours},
		{"job", get("/v1/jobs/" + job.ID), ours},
		{"notify", notify, ours},
	} {
		b.Run(c.name, func(b *testing.B) {
			l, err := net.Listen("unix", filepath.Join(b.TempDir(), "s"))
			if err != nil {
				b.Fatal(err)
			}
			serve, stop := c.server()
			done := make(chan struct{})
			go func() { _ = serve(l); close(done) }()
			defer func() { _ = stop(); <-done }()
			roundTrips(b, l.Addr().String(), []byte(c.request))
		})
	}
}

// roundTrips sends a request again and again over one connection.
func roundTrips(b *testing.B, socket string, request []byte) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	buf := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		for got, want := 0, -1; got != want; {
			n, err := c.Read(buf[got:])
			if err != nil {
				b.Fatal(err)
			}
			got += n
			if head := bytes.Index(buf[:got], []byte("\r\n\r\n")); want < 0 && head > 0 {
				_, rest, _ := bytes.Cut(buf[:head], []byte("Content-Length: "))
				length, _, _ := bytes.Cut(rest, []byte("\r\n"))
				size, err := strconv.Atoi(string(length))
				if err != nil || !bytes.HasPrefix(buf, []byte("HTTP/1.1 20")) {
					b.Fatalf("answer %q", buf[:got])
				}
				want = head + 4 + size
			}
		}
	}
}
