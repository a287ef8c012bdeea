// Package e2e runs the real programs against each other: a daemon process, its
// socket, its clients, kill -9.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/test/harness"
	"dispatchd/test/sources"
)

var bin string // where TestMain built the programs

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "dispatchd-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if out, err := sources.Build("dispatchd/cmd/...", dir); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	bin = dir
	return m.Run()
}

// box is a private root with a daemon in it.
type box struct {
	t       *testing.T
	dir     string
	daemon  *exec.Cmd
	prepare func(*exec.Cmd)
	client  *client.Client
}

// newBox writes the definitions and starts the daemon.
func newBox(t *testing.T, files map[string]string) *box {
	t.Helper()
	return newBoxWith(t, files, func(*exec.Cmd) {})
}

// newBoxWith is newBox, with something done to the daemon's command first.
func newBoxWith(t *testing.T, files map[string]string, prepare func(*exec.Cmd)) *box {
	t.Helper()
	sources.Look(t)
	dir, err := os.MkdirTemp("", "box-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &box{t: t, dir: dir, prepare: prepare, client: &client.Client{Socket: filepath.Join(dir, "run/control.sock")}}
	if err := os.Mkdir(filepath.Join(dir, "dispatchers.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		b.write("dispatchers.d/"+name+".toml", strings.ReplaceAll(text, "$BOX", dir))
	}
	b.start()
	t.Cleanup(b.stop)
	return b
}

func (b *box) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) read(name string) string {
	text, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// start starts the daemon and returns when it says that it is ready.
func (b *box) start() {
	b.t.Helper()
	b.daemon = exec.Command(filepath.Join(bin, "dispatchd"), "--root", b.dir)
	b.prepare(b.daemon)
	harness.Start(b.t, b.daemon)
}

func (b *box) stop() {
	if b.daemon == nil {
		return
	}
	_ = b.daemon.Process.Signal(syscall.SIGTERM)
	if err := b.daemon.Wait(); err != nil {
		b.t.Errorf("daemon: %v", err)
	}
	b.daemon = nil
}

// kill9 ends the daemon as a crash does.
func (b *box) kill9() {
	_ = b.daemon.Process.Kill()
	_ = b.daemon.Wait()
}

// command runs a client program and gives its outputs and exit code.
func (b *box) command(name string, args ...string) (string, string, int) {
	b.t.Helper()
	cmd := exec.Command(filepath.Join(bin, name), args...)
	cmd.Env = append(os.Environ(), "DISPATCHD_SOCKET="+b.client.Socket)
	return harness.Output(b.t, cmd)
}

func (b *box) notify(name, args string) ipc.Notified {
	b.t.Helper()
	n, err := b.client.Notify(b.t.Context(), ipc.NotifyRequest{Dispatcher: name, Arguments: json.RawMessage(args)})
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *box) await(id string) ipc.Job {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	job, err := b.client.Await(ctx, id)
	if err != nil {
		b.t.Fatal(err)
	}
	return job
}

// gated notifies a job that reads a fifo, and returns when it runs; closing the
// file lets it go on.
func (b *box) gated(fifo, name string) (*os.File, string) {
	b.t.Helper()
	path := filepath.Join(b.dir, fifo)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		b.t.Fatal(err)
	}
	n := b.notify(name, "")
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return f, n.ID
}

// Ten are accepted, the eleventh is refused; the ten run in order and alone.
func TestQueueFullAndOrder(t *testing.T) {
	b := newBox(t, map[string]string{"op": `
script = 'echo "begin $DISPATCHD_JOB_ID" >> $BOX/ran; read go < $BOX/gate || :; echo "end $DISPATCHD_JOB_ID" >> $BOX/ran'
`})
	if err := syscall.Mkfifo(filepath.Join(b.dir, "gate"), 0o600); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 10 {
		ids = append(ids, b.notify("op", "").ID)
	}
	_, errw, code := b.command("dispatch-notify", "op")
	if code != ipc.ExitBusy || !strings.Contains(errw, "max_queue is 10") || !strings.Contains(errw, "try again in") {
		t.Errorf("eleventh: exit %d, said %q", code, errw)
	}
	_, err := b.client.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "op"})
	if p, ok := errors.AsType[*ipc.Error](err); !ok || p.Kind != ipc.KindQueueFull || p.Status != 503 || p.RetryAfter < 1 {
		t.Errorf("eleventh: %+v", err)
	}
	for _, id := range ids {
		f, err := os.OpenFile(filepath.Join(b.dir, "gate"), os.O_WRONLY, 0) // waits for the child's reader
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		if job := b.await(id); job.State != ipc.Succeeded {
			t.Errorf("job %s: %s %+v", id, job.State, job.Error)
		}
	}
	var want strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&want, "begin %s\nend %s\n", id, id)
	}
	if got := b.read("ran"); got != want.String() {
		t.Errorf("ran:\n%swant:\n%s", got, want.String())
	}
}

// After kill -9 all queued jobs run once each, the running one is interrupted.
func TestKill9(t *testing.T) {
	b := newBox(t, map[string]string{
		"long": "survive_restart = false\nscript = 'echo started; exec sleep 1000'\n",
		"keep": "script = 'read go < $BOX/gate || :; echo kept; exit 7'\n",
		"redo": "survive_restart = false\non_interrupt = 'rerun'\nscript = 'echo $DISPATCHD_ATTEMPT >> $BOX/redo; [ $DISPATCHD_ATTEMPT = 2 ] || exec sleep 1000'\n",
		"many": "max_queue = 0\nscript = 'echo $DISPATCHD_JOB_ID >> $BOX/ran'\n",
	})
	if _, err := b.client.Pause(t.Context(), "many", true); err != nil {
		t.Fatal(err)
	}
	long, redo := b.notify("long", ""), b.notify("redo", "")
	gate, keep := b.gated("gate", "keep")
	log, err := b.client.Log(t.Context(), long.ID, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(log).ReadString('\n'); line != "started\n" {
		t.Fatalf("log: %q, %v", line, err)
	}
	var ids []string
	for range 100 {
		ids = append(ids, b.notify("many", "").ID)
	}
	b.kill9()
	b.start()
	if job := b.await(long.ID); job.State != ipc.Interrupted {
		t.Errorf("running job: %s", job.State)
	}
	if job := b.await(redo.ID); job.State != ipc.Succeeded || job.Attempt != 2 {
		t.Errorf("rerun job: %s, attempt %d", job.State, job.Attempt)
	}
	if job, err := b.client.Job(t.Context(), keep); err != nil || job.State != ipc.Running {
		t.Errorf("job under a shim: %s %v, want it to run on", job.State, err)
	}
	_ = gate.Close()
	if job := b.await(keep); job.State != ipc.Failed || job.Attempt != 1 || job.ExitCode == nil || *job.ExitCode != 7 {
		t.Errorf("job under a shim: %+v", job)
	}
	if _, err := b.client.Pause(t.Context(), "many", false); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if job := b.await(id); job.State != ipc.Succeeded {
			t.Errorf("queued job %s: %s", id, job.State)
		}
	}
	if ran := strings.Fields(b.read("ran")); !slices.Equal(ran, ids) {
		t.Errorf("ran %d jobs, not each once in order", len(ran))
	}
}

// A lock held from outside makes a job wait, and it says for whom.
func TestLockFromOutside(t *testing.T) {
	b := newBox(t, map[string]string{"op": "script = 'echo ran'\n[locks]\nexclusive = ['disk']\n"})
	hold := exec.Command(filepath.Join(bin, "dispatchctl"), "--socket", b.client.Socket, "lock", "disk", "--", "sh", "-c", "echo held; read x || :")
	in, _ := hold.StdinPipe()
	out, _ := hold.StdoutPipe()
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("lock: %q %v", line, err)
	}
	n := b.notify("op", "")
	job, err := b.client.Job(t.Context(), n.ID)
	if err != nil {
		t.Fatal(err)
	}
	if w := job.WaitingFor; w == nil || w.Reason != ipc.WaitLock || w.Lock != "disk" || w.PID != hold.Process.Pid {
		t.Errorf("waiting_for: %+v, want lock disk held by %d", w, hold.Process.Pid)
	}
	_ = in.Close()
	_ = hold.Wait()
	if job := b.await(n.ID); job.State != ipc.Succeeded {
		t.Errorf("job: %s", job.State)
	}
}

// A job that ignores TERM and leaves its output to a grandchild ends after
// timeout and grace, and the next one runs.
func TestTimeout(t *testing.T) {
	b := newBox(t, map[string]string{"op": "timeout = 1\nqueue_timeout = 60\nkill_grace = 1\nscript = 'trap \"\" TERM; [ -e $BOX/once ] && exit 0; touch $BOX/once; sleep 1000 & wait; wait'\n"})
	first, second := b.notify("op", ""), b.notify("op", "")
	job := b.await(first.ID)
	if took := job.EndedAt.Sub(*job.StartedAt); job.State != ipc.TimedOut || took < time.Second {
		t.Errorf("first: %s after %s", job.State, took)
	}
	if job := b.await(second.ID); job.State != ipc.Succeeded {
		t.Errorf("second: %s", job.State)
	}
}

// Fifty clients at once: the runs coalesce, and each client learns the end.
func TestCoalesce(t *testing.T) {
	b := newBox(t, map[string]string{"apply": "coalesce = true\nscript = 'echo run >> $BOX/runs; sleep 0.2'\n"})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			n, err := b.client.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "apply"})
			if err != nil {
				t.Error(err)
				return
			}
			if job, err := b.client.Await(t.Context(), n.ID); err != nil || job.State != ipc.Succeeded {
				t.Errorf("job: %s %v", job.State, err)
			}
		})
	}
	wg.Wait()
	if runs := strings.Count(b.read("runs"), "run"); runs > 3 {
		t.Errorf("%d runs, want at most 2 after the first", runs)
	}
}

// Each bad request gets a typed error, and the daemon goes on.
func TestBadInput(t *testing.T) {
	b := newBox(t, map[string]string{"op": "script = 'cat'\n", "bad": "scrpt = 'x'\n"})
	post := func(path, header, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: dispatchd\r\nContent-Length: %d\r\n%s\r\n%s", path, len(body), header, body)
	}
	notify := "/v1/dispatchers/op/notify"
	cases := []struct{ name, raw, kind string }{
		{"unknown dispatcher", post("/v1/dispatchers/opp/notify", "", ""), "dispatcher_unknown"},
		{"dots", post("/v1/dispatchers/..%2f..%2fetc/notify", "", ""), "dispatcher_unknown"},
		{"disabled", post("/v1/dispatchers/bad/notify", "", ""), "dispatcher_disabled"},
		{"no JSON", post(notify, "", "{"), "bad_request"},
		{"no object", post(notify, "", "[1]"), "bad_request"},
		{"trailing", post(notify, "", `{"arguments":1} x`), "bad_request"},
		{"two arguments", post(notify, "", `{"arguments":1,"arguments":2}`), "bad_request"},
		{"other name", post(notify, "", `{"Arguments":1}`), "bad_request"},
		{"duplicate names", post(notify, "", `{"arguments":{"a":1,"a":2}}`), "arguments_invalid"},
		{"large body", post(notify, "", strings.Repeat("x", 10<<20)), "body_too_large"},
		{"large header", post(notify, "X-Big: "+strings.Repeat("x", 4000)+"\r\n", ""), "header_too_large"},
		{"huge header", post(notify, "X-Big: "+strings.Repeat("x", 40000)+"\r\n", ""), "header_too_large"},
		{"long key", post(notify, "Idempotency-Key: "+strings.Repeat("k", 129)+"\r\n", ""), "bad_request"},
		{"foreign origin", post(notify, "Origin: http://evil.example\r\n", ""), "forbidden"},
		{"foreign host", "GET /v1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n", "forbidden"},
		{"no HTTP", "hello\r\n\r\n", "bad_request"},
		{"no path", "GET /v2 HTTP/1.1\r\nHost: unix\r\n\r\n", "not_found"},
		{"wrong method", "GET " + notify + " HTTP/1.1\r\nHost: unix\r\n\r\n", "method_not_allowed"},
		{"unknown job", "GET /v1/jobs/01ZZ HTTP/1.1\r\nHost: unix\r\n\r\n", "job_unknown"},
		{"bad wait", post(notify+"?wait=maybe", "", ""), "bad_request"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := b.raw(t, c.raw); !strings.Contains(got, "application/problem+json") || !strings.Contains(got, `"kind":"`+c.kind+`"`) {
				t.Errorf("answer %.600q, want kind %s", got, c.kind)
			}
		})
	}
	if h, err := b.client.Health(t.Context()); err != nil || h.Status != "ok" {
		t.Errorf("health: %+v %v", h, err)
	}
}

// raw sends bytes and reads one answer.
func (b *box) raw(t *testing.T, text string) string {
	t.Helper()
	c, err := net.Dial("unix", b.client.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	go func() { _, _ = io.WriteString(c, text) }()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(got, []byte(`"kind"`)) {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			break
		}
	}
	return string(got)
}

// The same key gives the same job; with other arguments it is a conflict.
func TestIdempotency(t *testing.T) {
	b := newBox(t, map[string]string{"op": "script = 'cat'\nmax_queue = 0\n"})
	ask := func(args string) (ipc.Notified, error) {
		return b.client.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "op", Arguments: json.RawMessage(args), IdempotencyKey: "k"})
	}
	first, err := ask(`{"a":1,"b":2}`)
	if err != nil {
		t.Fatal(err)
	}
	b.await(first.ID)
	b.kill9()
	b.start()
	if again, err := ask(`{"b":2, "a":1}`); err != nil || again.ID != first.ID {
		t.Errorf("again: %s, %v, want %s", again.ID, err, first.ID)
	}
	_, err = ask(`{"a":2}`)
	if p, ok := errors.AsType[*ipc.Error](err); !ok || p.Kind != ipc.KindIdempotencyConflict {
		t.Errorf("other arguments: %v", err)
	}
}

// Jobs of a dispatcher whose file is bad at the start are held, say why, and
// run when the file is mended.
func TestDisabledThenMended(t *testing.T) {
	good := "script = 'echo ran'\n"
	b := newBox(t, map[string]string{"op": good})
	if _, err := b.client.Pause(t.Context(), "op", true); err != nil {
		t.Fatal(err)
	}
	n := b.notify("op", "")
	if _, err := b.client.Pause(t.Context(), "op", true); err != nil {
		t.Fatal(err)
	}
	b.kill9()
	b.write("dispatchers.d/op.toml", "scrpt = 'x'\n")
	b.start()
	job, err := b.client.Job(t.Context(), n.ID)
	if err != nil || job.WaitingFor == nil || !strings.Contains(job.WaitingFor.Detail, "scrpt") {
		t.Errorf("held job: %+v %v", job.WaitingFor, err)
	}
	b.write("dispatchers.d/op.toml", good)
	if _, err := b.client.Reload(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if _, err := b.client.Pause(t.Context(), "op", false); err != nil {
		t.Fatal(err)
	}
	if job := b.await(n.ID); job.State != ipc.Succeeded {
		t.Errorf("mended: %s %+v", job.State, job.Error)
	}
}
