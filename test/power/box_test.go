//go:build linux && power

package power

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/test/sources"
)

// patience bounds every wait for something that must come.
const patience = 60 * time.Second

// box is a private root with a daemon in it.
type box struct {
	t      *testing.T
	dir    string
	client *client.Client
	life   *life
}

// life is one process of the daemon, or of the tracer that it runs under.
type life struct {
	cmd   *exec.Cmd
	ready chan struct{} // closed when it says that it is ready
	dead  chan struct{} // closed when it has ended
	err   error         // how, once it has

	mu   sync.Mutex
	said strings.Builder
}

// newBox makes a root with these definitions.
func newBox(t *testing.T, definitions map[string]string) *box {
	t.Helper()
	sources.Look(t)
	dir, err := os.MkdirTemp("", "pw-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &box{t: t, dir: dir, client: &client.Client{Socket: filepath.Join(dir, "run/control.sock")}}
	for _, name := range []string{"dispatchers.d", "state"} {
		if err := os.Mkdir(b.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range definitions {
		if err := os.WriteFile(b.path("dispatchers.d/"+name+".toml"), []byte(strings.ReplaceAll(text, "$BOX", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(b.kill)
	return b
}

func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

// start starts a daemon, under a tracer if there is one, and does not wait.
func (b *box) start(program string, tracer ...string) *life {
	b.t.Helper()
	argv := append(tracer, program, "--root", b.dir)
	l := &life{cmd: exec.Command(argv[0], argv[1:]...), ready: make(chan struct{}), dead: make(chan struct{})}
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that a tracer does not die alone
	stderr, err := l.cmd.StderrPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	go l.follow(bufio.NewReader(stderr))
	b.life = l
	return l
}

// follow reads the log until the daemon's end.
func (l *life) follow(r *bufio.Reader) {
	ready := false
	for {
		line, err := r.ReadString('\n')
		l.mu.Lock()
		l.said.WriteString(line)
		l.mu.Unlock()
		if !ready && strings.Contains(line, "msg=ready") {
			ready = true
			close(l.ready)
		}
		if err != nil {
			break
		}
	}
	l.err = l.cmd.Wait()
	close(l.dead)
}

// log is what it has said so far.
func (l *life) log() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said.String()
}

// up waits until the daemon is ready.
func (l *life) up() error {
	select {
	case <-l.ready:
		return nil
	case <-l.dead:
		return errors.New("the daemon ended: " + l.log())
	case <-time.After(patience):
		return errors.New("the daemon did not get ready: " + l.log())
	}
}

// rise starts the daemon and waits until it is ready.
func (b *box) rise(program string) {
	b.t.Helper()
	if err := b.start(program).up(); err != nil {
		b.t.Fatal(err)
	}
}

// kill ends the daemon as a crash does.
func (b *box) kill() {
	if b.life != nil {
		_ = syscall.Kill(-b.life.cmd.Process.Pid, syscall.SIGKILL)
		<-b.life.dead
		b.life = nil
	}
}

// stop ends the daemon in order.
func (b *box) stop() {
	b.t.Helper()
	_ = b.life.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.life.dead:
	case <-time.After(patience):
		b.t.Fatalf("it does not stop: %s", b.life.log())
	}
	if b.life.err != nil {
		b.t.Errorf("stop: %v\n%s", b.life.err, b.life.log())
	}
	b.life = nil
}

// notify asks for a run, with a wait that is bounded.
func (b *box) notify(ctx context.Context, name, args, key string) (ipc.Notified, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return b.client.Notify(ctx, ipc.NotifyRequest{Dispatcher: name, Arguments: []byte(args), IdempotencyKey: key})
}

// await waits for a job's end.
func (b *box) await(ctx context.Context, id string) (ipc.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return b.client.Await(ctx, id)
}

// jobs lists all jobs by their ids.
func (b *box) jobs() map[string]ipc.Job {
	b.t.Helper()
	all := map[string]ipc.Job{}
	for before := ""; ; {
		page, err := b.client.Jobs(b.t.Context(), ipc.JobFilter{Limit: 1000, Before: before})
		if err != nil {
			b.t.Fatal(err)
		}
		for _, j := range page {
			all[j.ID] = j
		}
		if len(page) < 1000 {
			return all
		}
		before = page[len(page)-1].ID
	}
}

// picture is what the daemon does, for a test that failed.
func (b *box) picture() string {
	s, err := b.client.Status(b.t.Context())
	var text strings.Builder
	fmt.Fprintf(&text, "%d queued, %d running, journal %s, %v", s.Queued, s.Running, s.Journal, err)
	for id, j := range b.jobs() {
		if j.State == ipc.Running {
			fmt.Fprintf(&text, "\n%s of %s runs since %s", id, j.Dispatcher, j.StartedAt)
		}
	}
	log := b.life.log()
	return text.String() + "\n" + log[max(0, len(log)-4000):]
}

// is reports whether an error is of one of these kinds.
func is(err error, kinds ...ipc.Kind) bool {
	p, ok := errors.AsType[*ipc.Error](err)
	for _, k := range kinds {
		if ok && p.Kind == k {
			return true
		}
	}
	return false
}
