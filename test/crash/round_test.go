//go:build linux && crash

package crash

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// round is one box from its first start to its check.
type round struct {
	*crashBox
	figures figures
	starts  []time.Duration // from start to ready
	book    book
	load    *load
	rng     *rand.Rand
	ends    []int // the kinds of end that are still to be dealt
	lane    uint64
	shims   bool // they are killed as well, and what survive_restart promises is checked
	stop    context.CancelFunc
}

// stock is the daemon as it is.
func stock(t *testing.T) string { return box.Program(t, "dispatchd") }

// newRound makes a box and lets callers ask it.
func newRound(t *testing.T, program string, rules []rule, lane uint64, shims bool) *round {
	t.Helper()
	r := &round{crashBox: newBox(t, program, rules), rng: random(lane), lane: lane, shims: shims}
	r.book.rules = rules
	if shims {
		r.book.shims = map[string]bool{}
	}
	r.load = &load{box: r.crashBox, book: &r.book, pause: 6 * time.Millisecond, told: make(chan struct{})}
	r.load.last, r.load.giveUp = context.WithCancel(context.Background())
	ctx, stop := context.WithCancel(r.load.last)
	r.stop = stop
	r.load.start(ctx, 6, lane)
	if shims {
		r.beside(ctx)
	}
	return r
}

// judge lets everything end, checks it, and counts it.
func (r *round) judge() []finding {
	r.settle()
	found := check(&r.book.facts)
	r.figures.count(&r.book.facts)
	return found
}

// settle starts the daemon once more where it is dead, lets the callers get their last answers
// and the jobs their ends, and asks for the final states.
func (r *round) settle() {
	r.stop()
	l, err := r.rise()
	if err != nil {
		r.book.fault("the last start: %v", err)
		r.load.giveUp()
		return
	}
	enough := time.AfterFunc(patience, r.load.giveUp)
	r.load.wg.Wait()
	enough.Stop()
	r.load.giveUp()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := r.Client.Drain(ctx, true, patience/4)
	for ; (err != nil || s.Queued+s.Running > 0) && ctx.Err() == nil; s, err = r.Client.Drain(ctx, true, patience/4) {
	}
	if err != nil {
		r.book.fault("not idle: %d queued, %d running, %v", s.Queued, s.Running, err)
	}
	r.finals(ctx)
	r.stuck("of an idle daemon")
	if !l.Kill() {
		r.book.fault("the daemon ended by itself (%v):\n%s", l.Cmd.ProcessState, l.said())
	}
	r.stuck("without a daemon")
	if left := r.left(); len(left) > 0 {
		r.book.fault("left behind: %v", left)
	}
	if r.book.runs, err = readStamps(r.Path("stamps")); err != nil {
		r.book.fault("%v", err)
	}
}

// finals asks for all jobs, page by page.
func (r *round) finals(ctx context.Context) {
	r.book.finals = map[string]ipc.Job{}
	for before := ""; ; {
		page, err := r.Client.Jobs(ctx, ipc.JobFilter{Limit: 1000, Before: before, Fields: []string{"arguments", "result"}})
		if err != nil {
			r.book.fault("list of jobs: %v", err)
		}
		for _, job := range page {
			if _, twice := r.book.finals[job.ID]; twice {
				r.book.fault("job %s is listed twice", job.ID)
			}
			r.book.finals[job.ID] = job
			before = job.ID
		}
		if len(page) < 1000 {
			return
		}
	}
}

// stuck reports lock files that are held though nothing runs.
func (r *round) stuck(when string) {
	paths := ipc.RootPaths(r.Dir)
	for _, dir := range []string{paths.Locks(), paths.DispatcherLocks()} {
		files, _ := filepath.Glob(filepath.Join(dir, "*.lock"))
		for _, name := range files {
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			if err == nil {
				err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
				_ = f.Close()
			}
			if err != nil {
				r.book.fault("stuck lock %s %s: %v", filepath.Base(name), when, err)
			}
		}
	}
}

// left lists what still runs when it should not. What was just killed needs a
// moment to be gone.
func (r *round) left() map[int]string {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		if left := processes(r.Dir); len(left) == 0 || time.Now().After(end) {
			return left
		}
	}
}

// processes lists those that run for a box: its daemon, its shims, its jobs.
func processes(dir string) map[int]string {
	found := map[int]string{}
	for pid, argv := range cmdlines() {
		if strings.Contains(strings.Join(argv, " "), dir+"/") || exe(pid) == filepath.Join(dir, "dispatchd") {
			found[pid] = strings.Join(argv, " ")
		}
	}
	return found
}
