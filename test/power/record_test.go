//go:build linux && power

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
// tells the test that its child is there and has a shim, "bulk" has arguments
// that make the journal grow until it is compacted.
func definitions() map[string]string {
	const common = "max_queue = 0\nqueue_timeout = 0\n"
	const direct = common + "survive_restart = false\n"
	return map[string]string{
		"op":   direct + "concurrency = 2\ncommand = ['/bin/true']\n",
		"held": direct + "command = ['/bin/true']\n",
		"seen": common + "script = 'echo $DISPATCHD_JOB_ID >$BOX/seen'\n",
		"bulk": direct + "command = ['/bin/true']\n",
	}
}

// perRound is how many jobs are asked for until the daemon is killed: not so
// many that it takes long to look at all of them.
const perRound = 250

// What the disk is large enough for: a journal with this much, and another one
// beside it while it is rewritten. More would be a test of a full disk.
const (
	bulkSize = 64 << 10
	bulkMost = 110
)

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
	bulk int // notifies with much
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
	base        []byte
	record      []entry
	facts       *facts
	compactions int // journals that were replaced while a daemon ran
}

// recordLife runs a daemon under load on a disk of our own: for a while, with
// crashes and restarts.
func recordLife(t *testing.T, program string, lane uint64, rounds int) *recording {
	t.Helper()
	dir := memory(t)
	base := emptyImage(t, dir)
	b := newBox(t, definitions())
	d := newDisk(t, dir, append([]byte(nil), base...))
	f := &facts{seen: map[string]int{}}
	// Jobs outlive the daemon: they are listened to until none of them holds the
	// file system any more, or they would wait for us, and we for them.
	ended := f.watch(t, b, d)
	defer ended()
	mustMount(t, d.path, b.Path("state"))
	down := sync.OnceFunc(func() { b.kill(); unmount(t, b.Path("state")) })
	defer down()
	compactions := 0
	for round := range rounds {
		b.rise(program)
		if round == 0 {
			if _, err := b.Client.Pause(t.Context(), "held", true); err != nil {
				t.Fatal(err)
			}
		}
		if f.load(t, b, d, lane<<8+uint64(round*4), round == 0) {
			compactions++
		}
		if round%3 == 2 {
			b.Stop()
		} else {
			b.kill()
		}
	}
	down()
	ended()
	d.mu.Lock()
	defer d.mu.Unlock()
	return &recording{base: base, record: d.record, facts: f, compactions: compactions}
}

// load asks for jobs, for a second at most. It may wait until the journal was
// replaced, and reports whether it was.
func (f *facts) load(t *testing.T, b *stateBox, d *disk, lane uint64, wait bool) bool {
	t.Helper()
	before, most := inode(t, b), f.count()+perRound
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var callers sync.WaitGroup
	for i := range 4 {
		callers.Go(func() { f.call(ctx, b, d, random(lane+uint64(i))) })
	}
	enough := func(since time.Duration) bool {
		if wait {
			return inode(t, b) != before
		}
		return since > time.Second || f.count() > most
	}
	for start := time.Now(); !enough(time.Since(start)); {
		<-time.After(5 * time.Millisecond)
	}
	stop()
	callers.Wait()
	return inode(t, b) != before
}

// count is how many jobs were accepted.
func (f *facts) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.list)
}

// inode tells which file the journal is.
func inode(t *testing.T, b *stateBox) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(b.Path("state/journal"), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// watch notes the children that tell of themselves, until the function that it
// gives is called.
func (f *facts) watch(t *testing.T, b *stateBox, d *disk) func() {
	t.Helper()
	if err := unix.Mkfifo(b.Path("seen"), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(b.Path("seen"), os.O_RDWR, 0) // both ends: it never says that nobody writes
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
	return sync.OnceFunc(func() { _ = pipe.Close(); <-over })
}

// call is one caller: it asks for jobs, and for the ends of some.
func (f *facts) call(ctx context.Context, b *stateBox, d *disk, rng *rand.Rand) {
	for ctx.Err() == nil {
		a := f.next(rng)
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
		if a.name == "held" || rng.IntN(3) > 0 {
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

// next is something to ask for.
func (f *facts) next(rng *rand.Rand) *fact {
	name := []string{"op", "held", "seen", "bulk"}[rng.IntN(4)]
	a := &fact{name: name, args: fmt.Sprintf(`{"n":%d}`, rng.Uint64()), key: fmt.Sprintf("k%d", rng.Uint64())}
	f.mu.Lock()
	defer f.mu.Unlock()
	if name == "bulk" && f.bulk < bulkMost {
		f.bulk++
		a.args = fmt.Sprintf(`{"n":%d,"text":%q}`, rng.Uint64(), strings.Repeat("x", bulkSize))
	}
	return a
}
