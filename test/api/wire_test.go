package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// fixed answers each question with the same.
type fixed struct {
	server.Backend
	jobs map[string]ipc.Job
}

func (f fixed) Job(_ context.Context, _ ipc.Peer, id string) (ipc.Job, error) {
	if job, ok := f.jobs[id]; ok {
		return job, nil
	}
	p := ipc.Errorf(ipc.Kind(id), "what went wrong: why")
	p.RetryAfter, p.Dispatcher, p.Job, p.Holder, p.Suggestion = 7, "filter_reload", id1, "flock(1), process 4711", "what to do next"
	return ipc.Job{}, p
}

func (f fixed) Notify(context.Context, ipc.Peer, ipc.NotifyRequest) (ipc.Notified, error) {
	return ipc.Notified{Job: f.jobs["queued"], Coalesced: true, Started: true, Position: 2}, nil
}

func (f fixed) Dispatcher(context.Context, ipc.Peer, string) (ipc.Dispatcher, error) {
	return dispatcher(), nil
}
func (f fixed) Locks(context.Context, ipc.Peer) ([]ipc.Lock, error)  { return locks(), nil }
func (f fixed) Status(context.Context, ipc.Peer) (ipc.Status, error) { return status(), nil }

func (f fixed) Schedule(context.Context, ipc.Peer, ipc.ScheduleQuery) ([]ipc.Schedule, error) {
	return schedules(), nil
}
func (f fixed) Caches(context.Context, ipc.Peer) ([]ipc.Cache, error) { return caches(), nil }

func (f fixed) Health(context.Context, ipc.Peer) (ipc.Health, error) {
	return ipc.Health{Status: "degraded", Detail: "journal: no space left on device"}, nil
}

func (f fixed) Reload(context.Context, ipc.Peer, bool) (ipc.Reload, error) {
	return ipc.Reload{
		Added: []string{"a"}, Changed: []string{"b"}, Removed: []string{"c"}, Disabled: []string{"d"},
		Faults:  []string{"d.toml:3:1: no key is named comand; did you mean command?"},
		Restart: []string{"max_running"}, Warnings: []string{"a.toml:1:12: command[0]: /opt/a: no such file or directory"},
		Unread: []string{"x.conf: is not read: its name does not end in .toml (did you mean x.toml?)"},
	}, nil
}

func (f fixed) Upgrade(context.Context, ipc.Peer) (ipc.Upgrade, error) {
	return ipc.Upgrade{From: "1.0.0", To: "1.1.0", StartedAt: at(0)}, nil
}

// daemon serves the fixed answers on a socket.
type daemon struct {
	t      *testing.T
	client *http.Client
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "gold")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := server.Listen(path, "", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s := server.New(fixed{jobs: jobs()}, server.Options{Version: "1.0.0", MaxConns: 16})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	d := &daemon{t, &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}}
	t.Cleanup(func() {
		d.client.CloseIdleConnections()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	return d
}

// ask sends a request and gives the answer's body.
func (d *daemon) ask(method, path string) []byte {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, "http://localhost"+path, http.NoBody)
	if err != nil {
		d.t.Fatal(err)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	// The connections are this process's.
	return regexp.MustCompile(`"clients":\[[^\]]*\]`).ReplaceAll(body, []byte(`"clients":[{"uid":0,"gid":0,"pid":4711,"process":"dispatchctl","connections":1,"waiting":0}]`))
}

// wire compares one answer with its golden file.
func (d *daemon) wire(name, method, path string) {
	d.t.Helper()
	golden(d.t, "wire/"+name+".json", pretty(d.t, d.ask(method, path)), lostJSON)
}

func TestWire(t *testing.T) {
	d := newDaemon(t)
	d.wire("notified", "POST", "/v1/dispatchers/x/notify")
	d.wire("dispatcher", "GET", "/v1/dispatchers/x")
	d.wire("locks", "GET", "/v1/locks")
	d.wire("schedule", "GET", "/v1/schedule")
	d.wire("caches", "GET", "/v1/caches")
	d.wire("status", "GET", "/v1/status")
	d.wire("health", "GET", "/v1/health")
	d.wire("reload", "POST", "/v1/reload")
	d.wire("upgrade", "POST", "/v1/upgrade")
	for _, s := range ipc.States() {
		d.wire("job_"+string(s), "GET", "/v1/jobs/"+string(s))
	}
}

func TestWireProblems(t *testing.T) {
	d := newDaemon(t)
	all := map[ipc.Kind]json.RawMessage{}
	for _, k := range ipc.Kinds() {
		all[k] = d.ask("GET", "/v1/jobs/"+string(k))
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "wire/problems.json", pretty(t, raw), lostJSON)
}

// One table maps each kind to an HTTP status and an exit code.
func TestKinds(t *testing.T) {
	var table bytes.Buffer
	for _, k := range ipc.Kinds() {
		fmt.Fprintf(&table, "%-22s HTTP %d  exit %3d\n", k, k.Status(), k.ExitCode())
	}
	for _, s := range ipc.States() {
		if s.Final() {
			fmt.Fprintf(&table, "job %-18s           exit %3d\n", s, s.ExitCode())
		}
	}
	golden(t, "kinds.txt", table.Bytes(), lostLines)
}

func TestOpenAPI(t *testing.T) {
	golden(t, "openapi.json", pretty(t, newDaemon(t).ask("GET", "/openapi.json")), nil)
}

// empty names the fields that no sample fills.
func empty(at string, v reflect.Value, filled map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			empty(at, v.Elem(), filled)
		}
	case reflect.Slice:
		if v.Type() != reflect.TypeFor[json.RawMessage]() {
			for i := range v.Len() {
				empty(at, v.Index(i), filled)
			}
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			name := at + "." + v.Type().Field(i).Name
			filled[name] = filled[name] || !v.Field(i).IsZero()
			empty(name, v.Field(i), filled)
		}
	}
}

// A field that is added to the wire is added to the samples here.
func TestSamplesAreWhole(t *testing.T) {
	filled := map[string]bool{}
	for _, job := range jobs() {
		empty("Notified", reflect.ValueOf(ipc.Notified{Job: job, Coalesced: true, Started: true, Position: 2}), filled)
	}
	empty("Dispatcher", reflect.ValueOf(dispatcher()), filled)
	empty("Locks", reflect.ValueOf(locks()), filled)
	empty("Schedule", reflect.ValueOf(schedules()), filled)
	empty("Caches", reflect.ValueOf(caches()), filled)
	empty("Status", reflect.ValueOf(status()), filled)
	for name, ok := range filled {
		if !ok && !strings.HasPrefix(name, "Status.API") { // the server's own
			t.Errorf("no sample fills %s", name)
		}
	}
}
