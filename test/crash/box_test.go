//go:build linux && crash

package crash

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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/test/sources"
)

// patience bounds every wait for something that must come.
const patience = 120 * time.Second

// box is a private root with a daemon that dies often.
type box struct {
	dir    string
	daemon string // the program; a link in the box, so that its processes are ours by their path
	client *client.Client

	mu      sync.Mutex
	life    *life
	changed chan struct{} // closed when there is a new life
}

// life is one process of the daemon.
type life struct {
	cmd   *exec.Cmd
	since time.Time
	ready chan struct{} // closed when it says that it is ready
	dead  chan struct{} // closed when it has ended
	took  time.Duration // from the start to ready
	said  string        // the end of its log, once it is dead

	leaving atomic.Bool // it was told to stop, or to become its next image
}

// newBox makes a root with definitions, for a daemon that was built as program.
func newBox(t *testing.T, program string, rules []rule) *box {
	t.Helper()
	sources.Look(t)
	dir, err := os.MkdirTemp("", "crash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && opt.keep {
			t.Logf("kept: %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	b := &box{dir: dir, daemon: filepath.Join(dir, "dispatchd"), changed: make(chan struct{})}
	b.client = &client.Client{Socket: b.path("run/control.sock")}
	if err := os.Mkdir(b.path("dispatchers.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.path("stamps"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	b.define(t, rules)
	if err := os.Link(program, b.daemon); err != nil {
		t.Fatal(err)
	}
	return b
}

// define writes the definitions.
func (b *box) define(t *testing.T, rules []rule) {
	t.Helper()
	for _, r := range rules {
		if err := os.WriteFile(b.path("dispatchers.d/"+r.name+".toml"), []byte(r.definition(b.path("stamps"))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

// start starts the daemon, under a tracer if there is one, and does not wait.
func (b *box) start(tracer ...string) (*life, error) {
	argv := append(tracer, b.daemon, "--root", b.dir)
	l := &life{cmd: exec.Command(argv[0], argv[1:]...), ready: make(chan struct{}), dead: make(chan struct{}), since: time.Now()}
	said, stderr, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	l.cmd.Stderr = stderr
	err = l.cmd.Start()
	_ = stderr.Close()
	if err != nil {
		_ = said.Close()
		return nil, err
	}
	go l.follow(said)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.life = l
	close(b.changed)
	b.changed = make(chan struct{})
	return l, nil
}

// follow reads the log until the daemon's end. A tracer may hold the pipe for
// longer than the daemon lives.
func (l *life) follow(said *os.File) {
	read := make(chan string)
	go func() { read <- l.read(bufio.NewReader(said)) }()
	_ = l.cmd.Wait()
	_ = said.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	l.said = <-read
	_ = said.Close()
	close(l.dead)
}

// read looks for the word that the daemon is ready, and gives the log's end.
func (l *life) read(r *bufio.Reader) string {
	var tail []string
	for {
		line, err := r.ReadString('\n')
		if tail = append(tail, line); len(tail) > 40 {
			tail = tail[1:]
		}
		if strings.Contains(line, "msg=ready") && !over(l.ready) {
			l.took = time.Since(l.since)
			close(l.ready)
		}
		if err != nil {
			return strings.Join(tail, "")
		}
	}
}

// kill ends the daemon as a crash does. It reports false when the daemon had
// ended by itself.
func (l *life) kill() bool {
	ours := l.cmd.Process.Kill() == nil
	<-l.dead
	status, ok := l.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ours && ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// over says whether a channel is closed.
func over(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// usable waits for a life that is ready and not dead.
func (b *box) usable(ctx context.Context) (*life, error) {
	for {
		b.mu.Lock()
		l, changed := b.life, b.changed
		b.mu.Unlock()
		if l != nil && !over(l.dead) {
			select {
			case <-l.ready:
				return l, nil
			case <-l.dead:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// errLocked says that the daemon found another one at work.
var errLocked = errors.New("another daemon is at work")

// up waits until a life is ready; it is an error if it dies first.
func (l *life) up() error {
	select {
	case <-l.ready:
		return nil
	case <-l.dead:
		if l.cmd.ProcessState.ExitCode() == ipc.KindLocked.ExitCode() {
			return errLocked
		}
		return fmt.Errorf("the daemon ended by itself at its start (%v):\n%s", l.cmd.ProcessState, l.said)
	case <-time.After(patience):
		return errors.New("the daemon did not get ready")
	}
}

// rise starts the daemon until it is up, unless one is. A child that the last daemon was just
// forking holds its lock for a moment, so a start may find it taken.
func (b *box) rise() (*life, error) {
	if b.life != nil && !over(b.life.dead) {
		return b.life, b.life.up()
	}
	for end := time.Now().Add(patience); ; {
		l, err := b.start()
		if err == nil {
			err = l.up()
		}
		if !errors.Is(err, errLocked) || time.Now().After(end) {
			return l, err
		}
	}
}
