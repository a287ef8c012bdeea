package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
)

// A due time that led to no job is a finding; one that did is none. Real ones
// are a minute apart, so a daemon's answer is played.
func TestDoctorSchedules(t *testing.T) {
	dir, err := os.MkdirTemp("", "doctor-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	answer := `[{"dispatcher":"renew","last":"2026-03-02T04:05:00Z","why":"queue_full: 10 jobs are outstanding"},{"dispatcher":"fine","last":"2026-03-02T04:05:00Z"}]`
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(ipc.APIHeader, ipc.SpokenAPI())
		if r.URL.Path == "/v1/schedule" {
			_, _ = w.Write([]byte(answer))
		}
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	d := &doctor{app: &app{client: &client.Client{Socket: socket}}, ctx: t.Context()}
	d.schedules()
	want := []finding{{
		Level: levelBad, Code: "due_not_run", What: "dispatcher renew was due at " + clock(time.Date(2026, 3, 2, 4, 5, 0, 0, time.UTC)) + ", and was not run: queue_full: 10 jobs are outstanding",
		Next: "dispatchctl schedule renew shows what is due next; dispatchctl notify renew runs it now",
	}}
	if diff := cmp.Diff(want, d.found); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
