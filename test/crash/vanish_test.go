//go:build linux && crash

package crash

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// vanishes is how often something is taken from one box before all is left to end.
const vanishes = 24

// TestVanish takes things out of the run directory while jobs run, as a cleaner of
// old files or a person does, and now and then kills the daemon right after it: what
// was accepted runs once, and one at a time, nevertheless.
func TestVanish(t *testing.T) {
	t.Parallel()
	var total tally
	inParallel((opt.kills+roundKills-1)/roundKills, func(i int) {
		r := newRound(t, stock(t), allRules(), 1<<20+uint64(i), false)
		r.vanish(vanishes)
		total.add(t, r)
	})
	total.say(t)
	if total.vanished == 0 || total.kills == 0 || total.runs == 0 {
		t.Errorf("nothing was taken away: %+v", total.figures)
	}
}

// vanish takes something away n times.
func (r *round) vanish(n int) {
	var kinds []int
	for range n {
		l, err := r.rise()
		if err != nil {
			r.book.fault("start: %v", err)
			return
		}
		r.await(l)
		if len(kinds) == 0 {
			kinds = r.rng.Perm(len(r.takings()))
		}
		l.leaving.Store(true) // it may be silent until it has a socket again
		r.figures.vanished += r.takings()[kinds[0]]()
		kinds = kinds[1:]
		if r.rng.IntN(4) == 0 {
			if !l.Kill() && !r.excused(l) {
				return
			}
			r.figures.kills++
			continue
		}
		if !r.isBack(l) {
			return
		}
		l.leaving.Store(false)
	}
}

// isBack has the daemon look at its files, which it otherwise does once a minute,
// and waits until it answers by its name.
func (r *round) isBack(l *life) bool {
	if _, err := os.Lstat(r.Path("run/control.sock")); err == nil && r.rng.IntN(2) == 0 {
		return true // it need not have looked
	}
	_ = l.Cmd.Process.Signal(syscall.SIGHUP)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := r.Client.Status(ctx); err == nil {
			return true
		}
		select {
		case <-l.Dead:
			r.book.fault("the daemon ended by itself (%v):\n%s", l.Cmd.ProcessState, l.said())
			return false
		case <-ctx.Done():
			r.book.fault("the daemon lives, and its socket does not return:\n%s", l.said())
			return false
		case <-tick.C:
		}
	}
}

// takings are the ways to take something away; each says how many names it removed.
func (r *round) takings() []func() int {
	by := func(remove func(string) error, patterns ...string) func() int {
		return func() int { return r.take(remove, patterns) }
	}
	return []func() int{
		by(os.Remove, "run/jobs/*"),
		by(os.Remove, "run/jobs/*.run"),
		by(os.Remove, "run/jobs/*.sock", "run/jobs/*.status"),
		by(os.RemoveAll, "run/jobs"),
		by(os.Remove, "run/locks/*.lock", "run/dispatchers/*.lock"),
		by(os.RemoveAll, "run/locks", "run/dispatchers"),
		by(os.Remove, "run/control.sock"),
		by(os.RemoveAll, "run/*"),
		by(os.RemoveAll, "run"),
	}
}

// take removes what these patterns mean now.
func (r *round) take(remove func(string) error, patterns []string) (n int) {
	for _, pattern := range patterns {
		names, _ := filepath.Glob(r.Path(pattern))
		for _, name := range names {
			if remove(name) == nil {
				n++
			}
		}
	}
	return n
}
