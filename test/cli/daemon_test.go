package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// newBox starts a daemon on definitions; it is stopped at the test's end. prepare
// may do something to its command first.
func newBox(t *testing.T, files map[string]string, prepare ...func(*exec.Cmd)) *box.Box {
	t.Helper()
	b := box.New(t, files)
	for _, fn := range prepare {
		b.Prepare = fn
	}
	b.Start()
	t.Cleanup(b.End)
	return b
}

// Ten are accepted, the eleventh is refused; the ten run in order and alone.
func TestQueueFullAndOrder(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{"op": `
script = 'echo "begin $DISPATCHD_JOB_ID" >> $BOX/ran; read go < $BOX/gate || :; echo "end $DISPATCHD_JOB_ID" >> $BOX/ran'
`})
	if err := syscall.Mkfifo(b.Path("gate"), 0o600); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 10 {
		ids = append(ids, b.Notify("op", "").ID)
	}
	_, errw, code := b.Run("dispatch-notify", "op")
	if code != ipc.ExitBusy || !strings.Contains(errw, "max_queue is 10") || !strings.Contains(errw, "try again in") {
		t.Errorf("eleventh: exit %d, said %q", code, errw)
	}
	_, err := b.Client.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "op"})
	if p, ok := errors.AsType[*ipc.Error](err); !ok || p.Kind != ipc.KindQueueFull || p.Status != 503 || p.RetryAfter < 1 {
		t.Errorf("eleventh: %+v", err)
	}
	for _, id := range ids {
		f, err := os.OpenFile(b.Path("gate"), os.O_WRONLY, 0) // waits for the child's reader
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		if job := b.Await(id); job.State != ipc.Succeeded {
			t.Errorf("job %s: %s %+v", id, job.State, job.Error)
		}
	}
	var want strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&want, "begin %s\nend %s\n", id, id)
	}
	if got := b.Read("ran"); got != want.String() {
		t.Errorf("ran:\n%swant:\n%s", got, want.String())
	}
}

// After kill -9 all queued jobs run once each, the running one is interrupted.
func TestKill9(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{
		"long": "survive_restart = false\nscript = 'echo started; exec sleep 1000'\n",
		"keep": "script = 'read go < $BOX/gate || :; echo kept; exit 7'\n",
		"redo": "survive_restart = false\non_interrupt = 'rerun'\nscript = 'echo $DISPATCHD_ATTEMPT >> $BOX/redo; [ $DISPATCHD_ATTEMPT = 2 ] || exec sleep 1000'\n",
		"many": "max_queue = 0\nscript = 'echo $DISPATCHD_JOB_ID >> $BOX/ran'\n",
	})
	if _, err := b.Client.Pause(t.Context(), "many", true); err != nil {
		t.Fatal(err)
	}
	long, redo := b.Notify("long", ""), b.Notify("redo", "")
	gate, keep := b.Gated("gate", "keep")
	log, err := b.Client.Log(t.Context(), long.ID, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(log).ReadString('\n'); line != "started\n" {
		t.Fatalf("log: %q, %v", line, err)
	}
	var ids []string
	for range 100 {
		ids = append(ids, b.Notify("many", "").ID)
	}
	b.Kill()
	b.Start()
	if job := b.Await(long.ID); job.State != ipc.Interrupted {
		t.Errorf("running job: %s", job.State)
	}
	if job := b.Await(redo.ID); job.State != ipc.Succeeded || job.Attempt != 2 {
		t.Errorf("rerun job: %s, attempt %d", job.State, job.Attempt)
	}
	if job, err := b.Client.Job(t.Context(), keep); err != nil || job.State != ipc.Running {
		t.Errorf("job under a shim: %s %v, want it to run on", job.State, err)
	}
	_ = gate.Close()
	if job := b.Await(keep); job.State != ipc.Failed || job.Attempt != 1 || job.ExitCode == nil || *job.ExitCode != 7 {
		t.Errorf("job under a shim: %+v", job)
	}
	if _, err := b.Client.Pause(t.Context(), "many", false); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if job := b.Await(id); job.State != ipc.Succeeded {
			t.Errorf("queued job %s: %s", id, job.State)
		}
	}
	if ran := strings.Fields(b.Read("ran")); !slices.Equal(ran, ids) {
		t.Errorf("ran %d jobs, not each once in order", len(ran))
	}
}

// A lock held from outside makes a job wait, and it says for whom.
func TestLockFromOutside(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{"op": "script = 'echo ran'\n[locks]\nexclusive = ['disk']\n"})
	hold := exec.Command(box.Program(t, "dispatchctl"), "--socket", b.Client.Socket, "lock", "disk", "--", "sh", "-c", "echo held; read x || :")
	in, _ := hold.StdinPipe()
	out, _ := hold.StdoutPipe()
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("lock: %q %v", line, err)
	}
	n := b.Notify("op", "")
	job, err := b.Client.Job(t.Context(), n.ID)
	if err != nil {
		t.Fatal(err)
	}
	if w := job.WaitingFor; w == nil || w.Reason != ipc.WaitLock || w.Lock != "disk" || w.PID != hold.Process.Pid {
		t.Errorf("waiting_for: %+v, want lock disk held by %d", w, hold.Process.Pid)
	}
	_ = in.Close()
	_ = hold.Wait()
	if job := b.Await(n.ID); job.State != ipc.Succeeded {
		t.Errorf("job: %s", job.State)
	}
}

// Fifty clients ask while a job runs: one run follows, and each of them learns
// its end.
func TestCoalesce(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{"apply": "coalesce = true\nscript = 'echo run >> $BOX/runs; [ -e $BOX/open ] || read go < $BOX/gate || :'\n"})
	gate, first := b.Gated("gate", "apply")
	var asked, told sync.WaitGroup
	asked.Add(50)
	for range 50 {
		told.Go(func() {
			n, err := b.Client.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: "apply"})
			asked.Done()
			if err != nil || n.ID == first {
				t.Errorf("a notify during a run: job %s, %v", n.ID, err)
				return
			}
			if job, err := b.Client.Await(t.Context(), n.ID); err != nil || job.State != ipc.Succeeded {
				t.Errorf("job: %s %v", job.State, err)
			}
		})
	}
	asked.Wait()
	b.Write("open", "")
	_ = gate.Close()
	told.Wait()
	if runs := b.Read("runs"); runs != "run\nrun\n" {
		t.Errorf("runs %q, want one after the first", runs)
	}
}

// Each bad request gets a typed error, and the daemon goes on.
func TestBadInput(t *testing.T) {
	t.Parallel()
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
			if got := raw(t, b, c.raw); !strings.Contains(got, "application/problem+json") || !strings.Contains(got, `"kind":"`+c.kind+`"`) {
				t.Errorf("answer %.600q, want kind %s", got, c.kind)
			}
		})
	}
	if h, err := b.Client.Health(t.Context()); err != nil || h.Status != "ok" {
		t.Errorf("health: %+v %v", h, err)
	}
}

// raw sends bytes and reads one answer.
func raw(t *testing.T, b *box.Box, text string) string {
	t.Helper()
	c, err := net.Dial("unix", b.Client.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	go func() { _, _ = io.WriteString(c, text) }()
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
