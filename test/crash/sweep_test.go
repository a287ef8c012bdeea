//go:build linux && crash

package crash

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// roundKills is how often the daemon of one box is killed before all is left
// to end and is checked.
const roundKills = 75

// TestSweep kills the daemon at random and checks that nothing is lost, doubled
// or left.
func TestSweep(t *testing.T) {
	t.Parallel()
	slower := box.Variant(t, slow())
	var total tally
	inParallel((opt.kills+roundKills-1)/roundKills, func(i int) {
		program := stock(t)
		if i%2 == 1 {
			program = slower
		}
		r := newRound(t, program, allRules(), uint64(i), true)
		r.sweep(min(roundKills, opt.kills-i*roundKills))
		total.add(t, r)
	})
	total.say(t)
	rare := total.stops > 0 && total.upgrades > 0 && total.cut > 0 || opt.kills < roundKills // one end in six, one run of many
	if total.kills < opt.kills || total.runs < opt.kills || total.interrupted == 0 || !rare {
		t.Errorf("the sweep did not hit: %+v", total.figures)
	}
}

// inParallel runs n pieces of work, some at a time.
func inParallel(n int, fn func(i int)) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range max(1, opt.boxes) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				fn(i)
			}
		})
	}
	wg.Wait()
}

// sweep kills the daemon n times.
func (r *round) sweep(n int) {
	for range n {
		l, err := r.start()
		if err != nil {
			r.book.fault("start: %v", err)
			return
		}
		r.await(l)
		if r.shims && r.rng.IntN(5) == 0 {
			r.killShims()
		}
		if !r.end(l) {
			return
		}
		r.figures.kills++
		if r.rng.IntN(4) == 0 { // orphans get a moment of their own
			r.pause(15 * time.Millisecond)
		}
	}
}

// end ends a life: mostly by a kill, sometimes by one in the middle of a stop or
// of an upgrade in place, and sometimes by a whole stop. It reports false when
// the daemon had ended in a way that it must not.
func (r *round) end(l *life) bool {
	if !box.Over(l.Ready) || box.Over(l.Dead) {
		return l.Kill() || r.excused(l)
	}
	// Cards, not dice: of thirty kills, one run in fourteen would throw no upgrade.
	if len(r.ends) == 0 {
		r.ends = r.rng.Perm(12)
	}
	kind := r.ends[0]
	r.ends = r.ends[1:]
	if kind > 2 {
		return l.Kill() || r.excused(l)
	}
	l.leaving.Store(true)
	if kind == 0 {
		r.figures.upgrades++
		_ = l.Cmd.Process.Signal(syscall.SIGUSR2)
	} else {
		r.figures.stops++
		_ = l.Cmd.Process.Signal(syscall.SIGTERM)
	}
	most := r.lastStart() * 3
	if kind == 2 {
		most = patience
	}
	select {
	case <-time.After(time.Duration(r.rng.Int64N(int64(most)))):
	case <-l.Dead:
	}
	return l.Kill() || kind > 0 && l.Cmd.ProcessState.ExitCode() == ipc.ExitOK || r.excused(l)
}

// pause lets a random time pass: the moments of the kills are the test.
func (r *round) pause(most time.Duration) {
	<-time.After(time.Duration(r.rng.Int64N(int64(most) * int64(opt.pace))))
}

// await waits for the moment of a kill: during the start, some time after it,
// or right after some answer.
func (r *round) await(l *life) {
	kind := r.rng.IntN(10)
	if kind < 2 {
		<-time.After(time.Duration(r.rng.Int64N(int64(r.lastStart() * 5 / 4))))
		return
	}
	select {
	case <-l.Ready:
		r.starts = append(r.starts, l.Took)
	case <-l.Dead:
		return
	}
	if kind < 6 {
		r.pause(100 * time.Millisecond)
		return
	}
	enough := time.After(120 * time.Millisecond * time.Duration(opt.pace))
	for range r.rng.IntN(12) {
		select {
		case <-r.load.told:
		case <-enough:
			return
		}
	}
	if kind < 8 {
		r.pause(2 * time.Millisecond)
	}
}

// lastStart is how long the last start took that came to its end.
func (r *round) lastStart() time.Duration {
	if len(r.starts) == 0 {
		return 20 * time.Millisecond
	}
	return r.starts[len(r.starts)-1]
}

// excused says whether a daemon may have ended by itself: only if it found the
// lock of its predecessor, held by a child that was just being forked.
func (r *round) excused(l *life) bool {
	if errors.Is(l.up(), errLocked) {
		r.figures.locked++
		return true
	}
	r.book.fault("the daemon ended by itself (%v):\n%s", l.Cmd.ProcessState, l.said())
	return false
}
