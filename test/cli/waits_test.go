package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// answered is what a request over a connection of its own was answered.
type answered struct {
	status   int
	location string
	body     string
	err      error
}

// request sends one request, and gives the channel of its answer.
func request(t *testing.T, socket, method, target string) <-chan answered {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, method+" "+target+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	ch := make(chan answered, 1)
	go func() {
		var a answered
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if a.err = err; err == nil {
			text, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			a = answered{resp.StatusCode, resp.Header.Get("Location"), string(text), err}
		}
		ch <- a
	}()
	return ch
}

// connected waits until the daemon has let in so many connections, with our own.
func connected(t *testing.T, b *box.Box, n int64) {
	t.Helper()
	for {
		s, err := b.Client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.API.Connections >= n {
			return
		}
	}
}

// A wait that the daemon itself cuts off is answered as one that ran out: what was
// accepted is told with its id, and never as refused.
func TestWaitsThatTheDaemonEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *box.Box){
		"stop": func(t *testing.T, b *box.Box) {
			_ = b.Life.Cmd.Process.Signal(syscall.SIGTERM)
			<-b.Life.Dead
			b.Life = nil
		},
		"upgrade": func(t *testing.T, b *box.Box) {
			if out, errw, code := b.Run("dispatchctl", "upgrade"); code != 0 {
				t.Fatalf("exit %d, %s%s", code, out, errw)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, map[string]string{
				"op":   "script = 'read go < $BOX/gate || :'\n",
				"data": "script = 'read go < $BOX/gate2 || :; echo 1'\n[cache]\nmax_age = 1\n",
			})
			for _, fifo := range []string{"gate", "gate2"} {
				if err := syscall.Mkfifo(b.Path(fifo), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			first := request(t, b.Client.Socket, "POST", "/v1/dispatchers/op/notify?wait=true")
			gate, err := os.OpenFile(b.Path("gate"), os.O_WRONLY, 0) // until the job reads
			if err != nil {
				t.Fatal(err)
			}
			jobs, err := b.Client.Jobs(t.Context(), ipc.JobFilter{})
			if err != nil || len(jobs) != 1 {
				t.Fatal(jobs, err)
			}
			id := jobs[0].ID
			asked := map[string]<-chan answered{"notify of what runs": first}
			want := map[string]string{"notify of what runs": "202 running"}
			for what, r := range map[string][3]string{
				"notify of what is queued": {"POST", "/v1/dispatchers/op/notify?wait=10m", "202 queued"},
				"job":                      {"GET", "/v1/jobs/" + id + "?wait=true", "200 running"},
				"job, for a time":          {"GET", "/v1/jobs/" + id + "?wait=10m", "200 running"},
				"hold":                     {"POST", "/v1/jobs/" + id + "/hold", "200 running"},
			} {
				asked[what], want[what] = request(t, b.Client.Socket, r[0], r[1]), r[2]
			}
			cached := request(t, b.Client.Socket, "GET", "/v1/caches/data?wait=true")
			connected(t, b, int64(len(asked))+2)
			end(t, b)
			for what, ch := range asked {
				a := <-ch
				var job ipc.Job
				_ = json.Unmarshal([]byte(a.body), &job)
				if a.err != nil || fmt.Sprint(a.status, " ", job.State) != want[what] || job.ID == "" || a.status == 202 && a.location != "/v1/jobs/"+job.ID {
					t.Errorf("%s: %+v, want %s", what, a, want[what])
				}
			}
			if a := <-cached; a.err != nil || a.status != ipc.KindCacheEmpty.Status() || !strings.Contains(a.body, `"job":"`) {
				t.Errorf("cache: %+v, want that it is empty, and the job that fills it", a)
			}
			_ = gate.Close()
			if b.Life == nil {
				b.Start()
			}
			if job := b.Await(id); job.State != ipc.Succeeded || job.Attempt != 1 {
				t.Errorf("%s, attempt %d", job.State, job.Attempt)
			}
		})
	}
}

// Whoever waits for a job that the stop ends hears how it ended.
func TestWaitForWhatTheStopEnds(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{"op": "survive_restart = false\nscript = 'read go < $BOX/gate || :; exec sleep 1000'\n"})
	if err := syscall.Mkfifo(b.Path("gate"), 0o600); err != nil {
		t.Fatal(err)
	}
	waits := request(t, b.Client.Socket, "POST", "/v1/dispatchers/op/notify?wait=true")
	gate, err := os.OpenFile(b.Path("gate"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = gate.Close()
	b.Stop()
	var job ipc.Job
	if a := <-waits; a.err != nil || a.status != 200 || json.Unmarshal([]byte(a.body), &job) != nil || job.State != ipc.Interrupted {
		t.Errorf("%+v", a)
	}
}

// A drain that is asked to wait has been carried out when its wait is cut off.
func TestDrainThatTheDaemonEnds(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{"op": "script = 'read go < $BOX/gate || :'\n"})
	gate, _ := b.Gated("gate", "op")
	drained := request(t, b.Client.Socket, "POST", "/v1/drain?wait=true")
	connected(t, b, 2)
	_ = b.Life.Cmd.Process.Signal(syscall.SIGTERM)
	<-b.Life.Dead
	b.Life = nil
	var s ipc.Status
	if a := <-drained; a.err != nil || a.status != 200 || json.Unmarshal([]byte(a.body), &s) != nil || !s.Draining || s.Running != 1 {
		t.Errorf("%+v", a)
	}
	_ = gate.Close()
}
