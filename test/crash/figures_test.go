//go:build linux && crash

package crash

import (
	"slices"
	"sync"
	"testing"
	"time"

	"dispatchd/ipc"
)

// figures say what a round did.
type figures struct {
	kills, shimKills  int
	stops, upgrades   int // kills in the middle of one, or after it
	hits              int // kills at a call, of those that were to be
	locked            int // starts that found the lock of the last daemon taken
	vanished          int // names that were taken away
	asks, refused     int
	jobs, interrupted int
	runs, cut         int // runs that did not come to their end
}

// count adds what the facts tell.
func (g *figures) count(f *facts) {
	g.asks, g.jobs, g.runs = len(f.asks), len(f.finals), len(f.runs)
	for _, a := range f.asks {
		if a.refused {
			g.refused++
		}
	}
	for _, j := range f.finals {
		if j.State == ipc.Interrupted {
			g.interrupted++
		}
	}
	for _, r := range f.runs {
		if !r.ended {
			g.cut++
		}
	}
}

// tally adds up rounds that run at the same time.
type tally struct {
	figures
	mu     sync.Mutex
	starts []time.Duration
}

// add takes in a round, and makes its findings the test's failures.
func (y *tally) add(t *testing.T, r *round) {
	t.Helper()
	found := r.judge()
	for _, f := range found {
		t.Errorf("seed %d, lane %d: %s: %s", opt.seed, r.lane, f.promise, f.text)
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	g := r.figures
	y.kills, y.shimKills, y.locked = y.kills+g.kills, y.shimKills+g.shimKills, y.locked+g.locked
	y.hits, y.stops, y.upgrades = y.hits+g.hits, y.stops+g.stops, y.upgrades+g.upgrades
	y.asks, y.refused, y.jobs = y.asks+g.asks, y.refused+g.refused, y.jobs+g.jobs
	y.vanished += g.vanished
	y.interrupted, y.runs, y.cut = y.interrupted+g.interrupted, y.runs+g.runs, y.cut+g.cut
	y.starts = append(y.starts, r.starts...)
}

// say prints the figures.
func (y *tally) say(t *testing.T) {
	t.Helper()
	t.Logf("seed %d: %+v", opt.seed, y.figures)
	if len(y.starts) > 0 {
		slices.Sort(y.starts)
		at := func(p int) time.Duration {
			return y.starts[len(y.starts)*p/100].Round(100 * time.Microsecond)
		}
		t.Logf("start to ready: median %s, 95 of 100 within %s", at(50), at(95))
	}
}
