package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"dispatchd/ipc"
	"dispatchd/ipc/terminal"
)

// daemon answers on a socket, one request after another as the test says.
type daemon struct {
	t      *testing.T
	socket string
	server *http.Server

	mu      sync.Mutex
	asked   []string
	answers []http.HandlerFunc // the last one for all that follow
}

func newDaemon(t *testing.T, answers ...http.HandlerFunc) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "dn")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, socket: filepath.Join(dir, "s"), answers: answers}
	d.start()
	t.Cleanup(func() { _ = d.server.Close(); _ = os.RemoveAll(dir) })
	return d
}

// start listens, also again.
func (d *daemon) start() {
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		d.t.Fatal(err)
	}
	d.server = &http.Server{Handler: d}
	go func(s *http.Server) { _ = s.Serve(l) }(d.server)
}

// ServeHTTP is http.Handler's.
func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	d.asked = append(d.asked, r.Method+" "+r.RequestURI)
	answer := d.answers[0]
	if len(d.answers) > 1 {
		d.answers = d.answers[1:]
	}
	d.mu.Unlock()
	w.Header().Set(ipc.APIHeader, ipc.SpokenAPI())
	answer(w, r)
}

// says answers with a value.
func says(status int, v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
}

// job is job 01J in a state.
func job(s ipc.State) ipc.Job { return ipc.Job{ID: "01J", State: s} }

// accepts takes the notify.
func accepts() http.HandlerFunc {
	return says(202, ipc.Notified{Job: job(ipc.Queued), Position: 1})
}

// breaks is a daemon that dies with the request read.
func breaks(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// run runs the program and gives what it printed.
func (d *daemon) run(args ...string) (out, errs string, code int) {
	var o, e bytes.Buffer
	c := &command{in: strings.NewReader(""), out: terminal.NewOutput(&o), err: terminal.NewOutput(&e)}
	code = c.finish(c.run(append([]string{"--socket", d.socket}, args...)))
	return o.String(), e.String(), code
}

// What ends before the wait's own time does not end it: the answer of a daemon that
// stops or makes way for the next one, one that cannot take it now, one that dies.
func TestWaitOutlivesTheDaemon(t *testing.T) {
	stopping := says(503, ipc.Errorf(ipc.KindDraining, "stopping"))
	busy := says(503, ipc.Errorf(ipc.KindTooManyConnections, "busy"))
	for _, wait := range []string{"--wait", "--wait=10m"} {
		restart := make(chan struct{})
		var d *daemon
		dies := func(http.ResponseWriter, *http.Request) {
			close(restart)
			panic(http.ErrAbortHandler)
		}
		d = newDaemon(t, accepts(), says(200, job(ipc.Running)), stopping, busy, breaks, dies, says(200, job(ipc.Succeeded)))
		done := make(chan struct{})
		go func() {
			defer close(done)
			<-restart
			_ = d.server.Close()
			d.start()
		}()
		out, errs, code := d.run("op", wait)
		<-done
		if code != 0 || out != "succeeded 01J\n" || !strings.HasPrefix(errs, "started 01J") {
			t.Errorf("%s: exit %d, %q, %q", wait, code, out, errs)
		}
		for i, line := range d.asked {
			if i > 0 && line != "GET /v1/jobs/01J?wait=30s" {
				t.Errorf("%s asked %s", wait, line)
			}
		}
	}
}

// A wait that is over says how long it was, and the job's id; so does one for which
// no daemon comes back in time, and one whose job nobody knows any more.
func TestWaitEnds(t *testing.T) {
	d := newDaemon(t, accepts(), says(200, job(ipc.Running)))
	_, errs, code := d.run("op", "--wait=150ms")
	if code != ipc.ExitTimedOut || !strings.Contains(errs, "job 01J has not ended after 150ms") || strings.Contains(errs, "-1ns") {
		t.Errorf("exit %d, %q", code, errs)
	}
	d = newDaemon(t, accepts(), breaks)
	_, errs, code = d.run("op", "--wait", "--timeout=200ms")
	if code != ipc.ExitNoDaemon || !strings.Contains(errs, "job 01J is accepted") {
		t.Errorf("exit %d, %q", code, errs)
	}
	d = newDaemon(t, accepts(), says(404, ipc.Errorf(ipc.KindJobUnknown, "no job 01J")))
	if _, errs, code = d.run("op", "--wait"); code != ipc.ExitUnknown || !strings.Contains(errs, "01J") {
		t.Errorf("exit %d, %q", code, errs)
	}
}

// A daemon that does not answer is told after 2 s, and given up after --timeout.
func TestSilentDaemon(t *testing.T) {
	release := make(chan struct{})
	d := newDaemon(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	_, errs, code := d.run("op", "--timeout=2100ms")
	if code != ipc.ExitNoDaemon || !strings.Contains(errs, "dispatch-notify: waiting for the daemon: it has accepted") ||
		!strings.Contains(errs, "has not answered within 2.1s") || !strings.Contains(errs, "not known whether it was accepted") {
		t.Errorf("exit %d, %q", code, errs)
	}
	if !strings.Contains(errs, "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("it does not say who: %q", errs)
	}
	if _, errs, _ = d.run("op", "--timeout=50ms", "--json"); !strings.Contains(errs, `"kind":"no_answer"`) {
		t.Errorf("%q", errs)
	}
}

// The exit status is a shell's.
func TestExitStatus(t *testing.T) {
	killed, missing, ran, late := job(ipc.Failed), job(ipc.Failed), job(ipc.Failed), job(ipc.TimedOut)
	killed.Signal, killed.Error = "SIGSEGV", &ipc.JobError{Kind: ipc.KindSignaled}
	missing.Error = &ipc.JobError{Kind: ipc.KindStartFailed, ExitStatus: 127}
	ran.ExitCode, ran.Error = new(7), &ipc.JobError{Kind: ipc.KindExitStatus}
	late.Signal, late.Error = "SIGTERM", &ipc.JobError{Kind: ipc.KindTimeout}
	for want, j := range map[int]ipc.Job{139: killed, 127: missing, 7: ran, 124: late, 0: job(ipc.Succeeded), 125: job(ipc.Canceled)} {
		d := newDaemon(t, accepts(), says(200, j))
		if _, _, code := d.run("op", "--wait", "--exit-status"); code != want {
			t.Errorf("%+v: exit %d, want %d", j, code, want)
		}
	}
}
