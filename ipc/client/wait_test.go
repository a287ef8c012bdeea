package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"dispatchd/ipc"
)

func running() ipc.Job   { return ipc.Job{ID: "01J", State: ipc.Running} }
func succeeded() ipc.Job { return ipc.Job{ID: "01J", State: ipc.Succeeded} }

// dialed tells a test of each try to connect, with its error.
func dialed(c *Client, path string) <-chan error {
	tries := make(chan error, 1000)
	c.Dial = func(ctx context.Context) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		tries <- err
		return conn, err
	}
	return tries
}

// next takes the next event. A caller names the event for its reader: go test's
// own -timeout, which is the only end, shows the line.
func next[T any](t *testing.T, ch <-chan T, _ string) T {
	t.Helper()
	return <-ch
}

// A wait lasts over a restart of the daemon: the connection breaks off, nobody
// listens for a while, the new daemon is not ready, then it knows the end.
func TestAwaitOutlivesARestart(t *testing.T) {
	waiting := make(chan struct{}, 1)
	d, c := newDaemon(t, func(_ http.ResponseWriter, r *http.Request) { waiting <- struct{}{}; <-r.Context().Done() })
	tries := dialed(c, d.path)
	type result struct {
		job ipc.Job
		err error
	}
	got := make(chan result, 1)
	go func() {
		job, err := c.Await(t.Context(), "01J")
		got <- result{job, err}
	}()
	next(t, waiting, "the wait")
	if err := next(t, tries, "the first connection"); err != nil {
		t.Fatal(err)
	}
	d.stop()
	for refused := 0; refused < 3; {
		if next(t, tries, "another try") != nil {
			refused++
		}
	}
	stopping := ipc.Errorf(ipc.KindDraining, "stopping")
	busy := ipc.Errorf(ipc.KindTooManyConnections, "busy")
	d.start(inTurn(says(503, stopping), says(503, busy), breaks, says(200, running()), says(200, succeeded())))
	if r := next(t, got, "the end"); r.err != nil || r.job.State != ipc.Succeeded {
		t.Errorf("%+v, %v", r.job, r.err)
	}
	for _, s := range d.requests() {
		if s.Line != "GET /v1/jobs/01J?wait=30s" {
			t.Errorf("request %s", s.Line)
		}
	}
}

// A hold is taken up again where the daemon goes down, and ends with the job.
func TestHoldOutlivesARestart(t *testing.T) {
	stopping := ipc.Errorf(ipc.KindDraining, "stopping")
	d, c := newDaemon(t, inTurn(says(200, running()), breaks, says(503, stopping), says(200, succeeded())))
	if job, err := c.Hold(t.Context(), "01J"); err != nil || job.State != ipc.Succeeded {
		t.Errorf("%+v, %v", job, err)
	}
	for _, s := range d.requests() {
		if s.Line != "POST /v1/jobs/01J/hold" {
			t.Errorf("request %s", s.Line)
		}
	}
	d, c = newDaemon(t, says(202, running()))
	for _, bound := range []bool{true, false} {
		if _, err := c.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "d", Bound: bound}); err != nil {
			t.Error(err)
		}
	}
	if r := d.requests(); r[0].Line != "POST /v1/dispatchers/d/notify?bound=true" || r[1].Line != "POST /v1/dispatchers/d/notify" {
		t.Errorf("%+v", r)
	}
	d, c = newDaemon(t, says(404, ipc.Errorf(ipc.KindJobUnknown, "gone")))
	_, err := c.Hold(t.Context(), "01J")
	_ = wantKind(t, err, ipc.KindJobUnknown, "gone")
	if n := len(d.requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// Without a daemon from the start, a wait is an error at once.
func TestAwaitWithoutADaemon(t *testing.T) {
	c := &Client{Socket: filepath.Join(t.TempDir(), "none")}
	_, err := c.Await(t.Context(), "01J")
	_ = wantKind(t, err, ipc.KindUnavailable, "no daemon")
}

// What does not pass ends a wait.
func TestAwaitEndsWithAnError(t *testing.T) {
	d, c := newDaemon(t, inTurn(says(200, running()), says(404, ipc.Errorf(ipc.KindJobUnknown, "gone"))))
	_, err := c.Await(t.Context(), "01J")
	_ = wantKind(t, err, ipc.KindJobUnknown, "gone")
	if n := len(d.requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// The context ends a wait, also between two tries.
func TestAwaitEndsWithItsContext(t *testing.T) {
	d, c := newDaemon(t, says(200, running()))
	if _, err := c.Job(t.Context(), "01J"); err != nil {
		t.Fatal(err)
	}
	d.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Millisecond)
	defer cancel()
	if _, err := c.Await(ctx, "01J"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// A daemon that answers at once, though asked to wait, is not asked without
// pause.
func TestAwaitDoesNotSpin(t *testing.T) {
	d, c := newDaemon(t, says(200, running()))
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	if _, err := c.Await(ctx, "01J"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if n := len(d.requests()); n > 5 {
		t.Errorf("%d requests in 0.4 s", n)
	}
}

// A notify whose answer was lost is repeated, with the same key and body.
func TestNotifyIsRepeatedWithAKey(t *testing.T) {
	d, c := newDaemon(t, inTurn(breaks, breaks, says(202, ipc.Notified{Job: running()})))
	n, err := c.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "d", Arguments: []byte("1"), IdempotencyKey: "k"})
	if err != nil || n.ID != "01J" {
		t.Fatalf("%+v, %v", n, err)
	}
	all := d.requests()
	for _, s := range all {
		if s != (seen{"POST /v1/dispatchers/d/notify", "k", "application/json", `{"arguments":1}`}) {
			t.Errorf("request %+v", s)
		}
	}
	if len(all) != 3 {
		t.Errorf("%d requests", len(all))
	}
}

// Without a key it is asked for once and no more: it may have been accepted.
func TestNotifyIsNotRepeatedWithoutAKey(t *testing.T) {
	d, c := newDaemon(t, breaks)
	_, err := c.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "d"})
	_ = wantKind(t, err, ipc.KindUnavailable, "broke before")
	_, err = c.Retry(t.Context(), "01J", "")
	_ = wantKind(t, err, ipc.KindUnavailable, "broke before")
	if all := d.requests(); len(all) != 2 {
		t.Errorf("requests %v", all)
	}
}

// An answer is an answer: what was refused is not asked for again.
func TestRefusedNotifyIsNotRepeated(t *testing.T) {
	for _, k := range []ipc.Kind{ipc.KindQueueFull, ipc.KindDraining, ipc.KindJournalUnavailable, ipc.KindBadRequest} {
		d, c := newDaemon(t, says(k.Status(), ipc.Errorf(k, "no")))
		_, err := c.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "d", IdempotencyKey: "k"})
		_ = wantKind(t, err, k, "no")
		if n := len(d.requests()); n != 1 {
			t.Errorf("%s: %d requests", k, n)
		}
	}
}

// Where there has never been a daemon, nobody is kept waiting for one.
func TestNotifyWithoutADaemon(t *testing.T) {
	c := &Client{}
	tries := dialed(c, filepath.Join(t.TempDir(), "none"))
	_, err := c.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "d", IdempotencyKey: "k"})
	_ = wantKind(t, err, ipc.KindUnavailable, "no daemon")
	if n := len(tries); n != 1 {
		t.Errorf("%d tries to connect", n)
	}
}

// prints sends a piece of output and then does what comes next.
func prints(text string, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		then(w, r)
	}
}

func ends(http.ResponseWriter, *http.Request) {}

// Output that is followed goes on where the old daemon left off.
func TestLogOutlivesARestart(t *testing.T) {
	d, c := newDaemon(t, inTurn(prints("abc", breaks), breaks, says(503, ipc.Errorf(ipc.KindDraining, "x")), prints("", breaks), prints("def", ends)))
	log, err := c.Log(t.Context(), "01J", 5, true)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(log)
	if err != nil || string(text) != "abcdef" {
		t.Errorf("%q, %v", text, err)
	}
	if err := log.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	all := d.requests()
	if first, last := all[0].Line, all[len(all)-1].Line; first != "GET /v1/jobs/01J/log?from=5&follow=true" || last != "GET /v1/jobs/01J/log?from=8&follow=true" {
		t.Errorf("requests %v", all)
	}
}

func TestLogEnds(t *testing.T) {
	gone := says(404, ipc.Errorf(ipc.KindJobUnknown, "gone"))
	_, c := newDaemon(t, inTurn(prints("abc", breaks), prints("abc", breaks), gone))
	log, err := c.Log(t.Context(), "01J", 0, false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(log)
	_ = wantKind(t, err, ipc.KindUnavailable, "broke before") // not followed: no second request
	_ = log.Close()
	log, err = c.Log(t.Context(), "01J", 0, true)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(log)
	_ = wantKind(t, err, ipc.KindJobUnknown, "gone")
	if string(text) != "abc" {
		t.Errorf("%q", text)
	}
	_ = log.Close()
	_, err = c.Log(t.Context(), "01J", 0, true)
	_ = wantKind(t, err, ipc.KindJobUnknown, "gone")
}

// Close ends a Read that waits.
func TestLogIsClosedWhileItWaits(t *testing.T) {
	_, c := newDaemon(t, prints("abc", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	log, err := c.Log(t.Context(), "01J", 0, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(log, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		_, err := log.Read(make([]byte, 1))
		got <- err
	}()
	_ = log.Close()
	if err := next(t, got, "the end of the Read"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
