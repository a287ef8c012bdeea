//go:build linux && crash

package crash

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// patience is when the checker takes "everything ends" for broken: a planted
// fault may leave something that never comes. A daemon's start, and whatever a
// kill ends, is waited for without it.
const patience = 120 * time.Second

// crashBox is a box whose daemon dies often, while callers ask it.
type crashBox struct {
	*box.Box

	mu      sync.Mutex
	life    *life
	changed chan struct{} // closed when there is a new life
}

// life is one process of the daemon.
type life struct {
	*box.Process

	leaving atomic.Bool // it was told to stop, or to become its next image
}

// newBox makes a root with definitions, for a daemon that was built as program.
func newBox(t *testing.T, program string, rules []rule) *crashBox {
	t.Helper()
	b := &crashBox{Box: box.New(t, nil), changed: make(chan struct{})}
	b.Write("stamps", "")
	b.define(rules)
	// Links in the box, so that its processes are known by their paths: of the
	// daemon, and of the supervisor that lies beside it.
	for _, name := range []string{"dispatchd", "dispatchd-shim"} {
		if err := os.Link(filepath.Join(filepath.Dir(program), name), b.Path(name)); err != nil {
			t.Fatal(err)
		}
	}
	b.Program = b.Path("dispatchd")
	t.Cleanup(func() {
		if t.Failed() && opt.keep {
			kept := b.Dir + "-kept"
			t.Logf("kept: %s, %v", kept, os.Rename(b.Dir, kept))
		}
	})
	return b
}

// define writes the definitions.
func (b *crashBox) define(rules []rule) {
	for _, r := range rules {
		b.Write("dispatchers.d/"+r.name+".toml", r.definition(b.T, b.Path("stamps")))
	}
}

// start starts the daemon, under a tracer if there is one, and does not wait.
func (b *crashBox) start(tracer ...string) (*life, error) {
	p, err := b.Begin(tracer...)
	if err != nil {
		return nil, err
	}
	l := &life{Process: p}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.life = l
	close(b.changed)
	b.changed = make(chan struct{})
	return l, nil
}

// said is the end of its log.
func (l *life) said() string {
	log := l.Err.String()
	return log[max(0, len(log)-4000):]
}

// usable waits for a life that is ready and not dead.
func (b *crashBox) usable(ctx context.Context) (*life, error) {
	for {
		b.mu.Lock()
		l, changed := b.life, b.changed
		b.mu.Unlock()
		if l != nil && !box.Over(l.Dead) {
			select {
			case <-l.Ready:
				return l, nil
			case <-l.Dead:
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
	err := l.Up()
	if err != nil && l.Cmd.ProcessState.ExitCode() == ipc.KindLocked.ExitCode() {
		return errLocked
	}
	return err
}

// rise starts the daemon until it is up, unless one is. A child that the last
// daemon was just forking holds its lock for a moment, so a start may find it
// taken.
func (b *crashBox) rise() (*life, error) {
	if b.life != nil && !box.Over(b.life.Dead) {
		return b.life, b.life.up()
	}
	for {
		l, err := b.start()
		if err == nil {
			err = l.up()
		}
		if !errors.Is(err, errLocked) {
			return l, err
		}
	}
}
