package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// memoryBound is what the daemon may have.
const memoryBound = 160 << 20

// bounded makes a control group with that much memory for the daemon of a box. Where
// none can be made, peak alone tells whether it stayed within.
func bounded(b *box.Box) {
	for _, c := range []struct{ mount, file string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"},
	} {
		dir, err := os.MkdirTemp(c.mount, "dispatchd-test-")
		if err != nil {
			continue
		}
		b.T.Cleanup(func() { leave(b, dir) })
		if os.WriteFile(filepath.Join(dir, c.file), []byte(strconv.Itoa(memoryBound)), 0o600) != nil {
			continue
		}
		b.Prepare = func(cmd *exec.Cmd) {
			cmd.Args = append([]string{"sh", "-c", `echo $$ > "$0" && exec "$@"`, filepath.Join(dir, "cgroup.procs"), cmd.Path}, cmd.Args[1:]...)
			cmd.Path = "/bin/sh"
		}
		return
	}
}

// leave removes the group. The daemon goes first: a group with a process stays.
func leave(b *box.Box, dir string) {
	if b.Life != nil {
		b.Kill()
	}
	var err error
	for range 500 {
		if err = os.Remove(dir); err == nil {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	b.T.Error(err)
}

// peak is the most memory that the daemon had.
func peak(t *testing.T, b *box.Box) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.Life.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// A client that queues 200 MiB of arguments, and lists them without reading what it
// is told, has neither the daemon killed nor root refused, and the next start takes
// no more memory than the run before.
func TestHostileArguments(t *testing.T) {
	hog := "max_queue = 0\nqueue_timeout = 0\ncoalesce = true\nscript = 'true'\n"
	b := box.New(t, map[string]string{"hog": hog, "pig": hog, "small": "script = 'true'\n"})
	bounded(b)
	b.Start()
	ctx := t.Context()
	for _, name := range []string{"hog", "pig"} {
		if _, err := b.Client.Pause(ctx, name, true); err != nil {
			t.Fatal(err)
		}
	}
	accepted, refused := flood(ctx, t, b, 200)
	if accepted < 20 || refused < 100 {
		t.Errorf("%d accepted, %d refused", accepted, refused)
	}
	serves(ctx, t, b, accepted)
	var deaf []net.Conn
	for i := range 60 {
		conn, err := net.Dial("unix", b.Client.Socket)
		if err != nil {
			t.Fatal(err)
		}
		deaf = append(deaf, conn)
		_, _ = fmt.Fprintf(conn, "GET /v1/jobs?limit=1000&fields=%s HTTP/1.1\r\nHost: localhost\r\n\r\n", []string{"arguments", "id"}[i%2])
	}
	serves(ctx, t, b, accepted)
	for _, conn := range deaf {
		_ = conn.Close()
	}
	first := peak(t, b)
	b.Kill()
	b.Start()
	serves(ctx, t, b, accepted)
	if again := peak(t, b); max(first, again) > memoryBound {
		t.Errorf("it took %d MiB, and after a restart %d", first>>20, again>>20)
	} else {
		t.Logf("it took %d MiB, and after a restart %d", first>>20, again>>20)
	}
}

// flood notifies with 1 MiB each, eight at a time. What is refused is refused with
// its reason.
func flood(ctx context.Context, t *testing.T, b *box.Box, n int) (accepted, refused int64) {
	var yes, no atomic.Int64
	var wg sync.WaitGroup
	work := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range work {
				args := json.RawMessage(fmt.Sprintf(`[%d,"%s"]`, i, strings.Repeat("x", 1<<20-100)))
				if i%20 == 0 { // decoded, it takes far more
					args = json.RawMessage(fmt.Sprintf("[%d%s]", i, strings.Repeat(",[]", 1<<20/3-100)))
				}
				_, err := b.Client.Notify(ctx, ipc.NotifyRequest{Dispatcher: []string{"hog", "pig"}[i%2], Arguments: args, IdempotencyKey: fmt.Sprint("k", i)})
				p, ok := errors.AsType[*ipc.Error](err)
				switch {
				case err == nil:
					yes.Add(1)
				case ok && (p.Kind == ipc.KindArgumentsFull || p.Kind == ipc.KindTooManyReaders) && p.RetryAfter > 0:
					no.Add(1)
				default:
					t.Errorf("notify %d: %v", i, err)
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	return yes.Load(), no.Load()
}

// serves holds the daemon against what others are promised beside a hostile client.
func serves(ctx context.Context, t *testing.T, b *box.Box, queued int64) {
	t.Helper()
	status, err := b.Client.Status(ctx)
	if err != nil || int64(status.Queued) != queued || status.Arguments.Used > status.Arguments.Max {
		t.Errorf("status: %d queued, %d wanted, %+v, %v", status.Queued, queued, status.Arguments, err)
	}
	if job := b.Await(b.Notify("small", `{"n":1}`).ID); job.State != ipc.Succeeded {
		t.Errorf("a job of root's: %s", job.State)
	}
	list, err := b.Client.Jobs(ctx, ipc.JobFilter{State: ipc.Queued, Limit: 1000})
	if err != nil || int64(len(list)) != queued {
		t.Errorf("%d jobs are listed, %v", len(list), err)
	}
	for _, job := range list {
		if job.Arguments != nil {
			t.Fatal("a list has arguments that nobody asked for")
		}
	}
}
