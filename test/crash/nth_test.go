//go:build linux && crash

package crash

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"dispatchd/test/box"
)

// fileCall is a system call to die at, and how often a short life makes it.
type fileCall struct {
	name string
	most int
}

// fileCalls are those by which the daemon and the shims change what lasts.
func fileCalls() []fileCall {
	return []fileCall{
		{"write", 60},
		{"openat", 80},
		{"fdatasync", 12},
		{"unlinkat", 24},
		{"flock", 12},
		{"ftruncate", 12},
		{"fallocate", 2},
		{"renameat", 3},
		{"fsync", 2},
		{"mknodat", 6},
		{"pwrite64", 5},
		{"fchmod", 4},
	}
}

// pointsARound is how many such deaths a box has before it is checked.
const pointsARound = 25

// TestNth kills the daemon, or a shim or child of it, at the Nth call of each
// kind that a thread of it makes, for each N in turn.
func TestNth(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	var total tally
	inParallel((opt.points+pointsARound-1)/pointsARound, func(i int) {
		r := newRound(t, stock(t), allRules(), 1<<24+uint64(i), true)
		r.book.traced = true
		for p := i * pointsARound; p < min(opt.points, (i+1)*pointsARound); p++ {
			if err := r.dieAt(point(p)); err != nil {
				t.Error(err)
				break
			}
		}
		total.add(t, r)
	})
	total.say(t)
	// A daemon that does not come to its Nth call tells nothing; a third is far more than chance.
	if total.hits < opt.points/3 || total.runs == 0 {
		t.Errorf("%d of %d points were reached, %d runs", total.hits, opt.points, total.runs)
	}
}

// point is the pth of all points: all calls in turn, and with each round of
// them a later N. The steps are odd, so that all are met in the end.
func point(p int) (call string, n int) {
	calls := fileCalls()
	c := calls[p%len(calls)]
	return c.name, 1 + (p/len(calls))*7%c.most
}

// dieAt starts the daemon so that it dies at a call; one that lives too long is
// killed. strace counts the calls of each thread for itself (and with
// --seccomp-bpf it does not count at all), so there are few threads.
func (r *round) dieAt(call string, n int) error {
	l, err := r.start("env", "GOMAXPROCS=1", "strace", "-D", "-f", "-qqq", "-o", "/dev/null",
		"-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n))
	if err != nil {
		return err
	}
	long := time.After(patience)
	select {
	case <-l.Ready:
		long = time.After(500 * time.Millisecond)
	case <-l.Dead:
	}
	select {
	case <-l.Dead:
	case <-long:
	}
	hit := box.Over(l.Dead)
	l.Kill()
	r.figures.kills++
	if hit {
		r.figures.hits++
	}
	if status, ok := l.Cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		if !errors.Is(l.up(), errLocked) {
			return fmt.Errorf("%s %d: the daemon ended by itself (%v):\n%s", call, n, l.Cmd.ProcessState, l.said())
		}
	}
	return nil
}
