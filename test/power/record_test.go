//go:build linux

package power

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// definitions of the recorded life. "op" runs at once, "held" is paused, "seen"
// tells the test that its child is there, "bulk" has arguments that make the
// journal grow until it is compacted.
func definitions() map[string]string {
	const common = "max_queue = 0\nqueue_timeout = 0\nsurvive_restart = false\n"
	return map[string]string{
		"op":   common + "concurrency = 2\ncommand = ['/bin/true']\n",
		"held": common + "command = ['/bin/true']\n",
		"seen": common + "script = 'echo $DISPATCHD_JOB_ID >$BOX/seen'\n",
		"bulk": common + "command = ['/bin/true']\n",
	}
}

// fact is what the world knows of one job, and since which position of the
// disk's record: it is told a little later than it was true, never earlier.
type fact struct {
	id, name, args, key string
	accepted            int       // its caller was answered
	ended               int       // its end was told, 0 = it was not
	state               ipc.State // which
}

// lastWord is when its caller was told something the last time.
func (a *fact) lastWord() int { return max(a.accepted, a.ended) }

// facts are gathered by everybody.
type facts struct {
	mu   sync.Mutex
	list []*fact
	seen map[string]int // children, by their job
	bad  []string
}

func (f *facts) fault(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bad = append(f.bad, fmt.Sprintf(format, args...))
}

// recording is a daemon's life on a disk that noted all of it.
type recording struct {
	base   []byte
	record []entry
	facts  *facts
}

// recordLife runs a daemon under load on a disk of our own: for a while, with
// crashes and restarts.
func recordLife(t *testing.T, program string, lane uint64, rounds int) *recording {
	t.Helper()
	dir := memory(t)
	base := emptyImage(t, dir)
	b := newBox(t, definitions())
	d := newDisk(t, dir, append([]byte(nil), base...))
	mount(t, d.path, b.path("state"))
	defer unmount(t, b.path("state"))
	defer b.kill()
	f := &facts{seen: map[string]int{}}
	ended := f.watch(t, b, d)
	for round := range rounds {
		b.rise(program)
		if round == 0 {
			if _, err := b.client.Pause(t.Context(), "held", true); err != nil {
				t.Fatal(err)
			}
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		var callers sync.WaitGroup
		for i := range 4 {
			callers.Go(func() { f.call(ctx, b, d, random(lane<<8+uint64(round*4+i))) })
		}
		callers.Wait()
		stop()
		if round%3 == 2 {
			b.stop()
		} else {
			b.kill()
		}
	}
	ended()
	d.mu.Lock()
	defer d.mu.Unlock()
	return &recording{base: base, record: d.record, facts: f}
}

// watch notes the children that tell of themselves, until the function that it
// gives is called.
func (f *facts) watch(t *testing.T, b *box, d *disk) func() {
	t.Helper()
	if err := unix.Mkfifo(b.path("seen"), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(b.path("seen"), os.O_RDWR, 0) // both ends: it never says that nobody writes
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			at := d.position()
			f.mu.Lock()
			f.seen[lines.Text()] = at
			f.mu.Unlock()
		}
	}()
	return func() { _ = pipe.Close(); <-over }
}

// call is one caller: it asks for jobs, and for the ends of some.
func (f *facts) call(ctx context.Context, b *box, d *disk, rng *rand.Rand) {
	for ctx.Err() == nil {
		name := []string{"op", "held", "seen", "bulk"}[rng.IntN(4)]
		a := &fact{name: name, args: fmt.Sprintf(`{"n":%d}`, rng.Uint64()), key: fmt.Sprintf("k%d", rng.Uint64())}
		if name == "bulk" {
			a.args = fmt.Sprintf(`{"n":%d,"text":%q}`, rng.Uint64(), strings.Repeat("x", 24<<10))
		}
		n, err := b.notify(ctx, a.name, a.args, a.key)
		if err != nil {
			if ctx.Err() == nil {
				f.fault("notify: %v", err)
			}
			continue
		}
		a.id, a.accepted = n.ID, d.position()
		f.mu.Lock()
		f.list = append(f.list, a)
		f.mu.Unlock()
		if name == "held" || rng.IntN(3) > 0 {
			continue
		}
		if job, err := b.await(ctx, a.id); err == nil && job.State.Final() {
			at := d.position()
			f.mu.Lock()
			a.ended, a.state = at, job.State
			f.mu.Unlock()
		}
	}
}
