//go:build linux

package shim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"dispatchd/daemon/internal/proc"
	"dispatchd/test/box"
)

// step is how often a supervisor's thread makes a call for two jobs in a row, and
// which of these stand for all without the tag soak.
type step struct {
	most   int
	sample []int
}

// steps are the system calls by which a supervisor changes what others see.
func steps() map[string]step {
	return map[string]step{
		"read": {8, []int{1}}, "openat": {17, []int{5}}, "write": {5, []int{1, 2, 4}}, "pwrite64": {4, []int{2, 3}}, "fcntl": {6, nil}, "pipe2": {3, nil},
		"bind": {2, nil}, "fchmodat": {2, nil}, "chmod": {1, nil}, "clone": {3, nil}, "clone3": {1, nil}, "pidfd_open": {2, []int{1}}, "poll": {6, []int{2}},
		"accept4": {3, nil}, "recvmsg": {4, []int{2}}, "sendmsg": {5, []int{2}}, "waitid": {2, nil}, "wait4": {2, []int{1}}, "ftruncate": {2, nil},
		"renameat": {2, []int{1, 2}}, "unlink": {2, nil}, "unlinkat": {4, nil}, "close": {32, []int{20}}, "dup3": {1, []int{1}}, "exit_group": {1, nil},
	}
}

// A supervisor is killed at each of its steps, or its job is. Whatever its daemon is
// told then of the two jobs is true: one that was never started has not run, one that
// has ended has ended so, of one whose end is not known nothing is left; and the locks
// are free.
func TestKilledAtEachStep(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	told := map[string]int{}
	for call, steps := range steps() {
		for n := range steps.most {
			if box.Soak || slices.Contains(steps.sample, n+1) {
				killAt(t, strace, call, n+1, told)
			}
		}
	}
	t.Logf("%v", told)
	for _, want := range []string{"first never started", "first not known", "first ended", "second not known", "second ended", "second left to another"} {
		if told[want] == 0 {
			t.Errorf("%s: never. This test tests little", want)
		}
	}
}

// killAt has a supervisor serve two jobs and be killed at the nth call of a kind, and
// counts what its daemon is told of them.
func killAt(t *testing.T, strace, call string, n int, told map[string]int) {
	t.Helper()
	place := fmt.Sprintf("killed at %s %d", call, n)
	argv := append([]string{
		strace, "-D", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n),
	}, self()...)
	first := newLaunch(t, "exit", "CODE=42")
	lock := newLock(t)
	c, err := Start(argv, first, []*os.File{lock}, true, ignore)
	if err != nil {
		t.Fatal(err)
	}
	_ = lock.Close()
	defer waitFree(t, lock.Name(), place) // the tracer holds it as well, to the end
	told["first "+truth(t, first, c, place)]++
	s := c.Spare()
	if s == nil {
		return
	}
	second := follow(t, first, "exit", "CODE=42")
	lock = newLock(t)
	defer waitFree(t, lock.Name(), place)
	next, err := s.Next(second, []*os.File{lock}, ignore)
	_ = lock.Close()
	switch {
	case errors.Is(err, ErrNoSpare) && !second.Files.Started() && printed(t, second) == "":
		told["second left to another"]++
	case err != nil:
		t.Errorf("%s: %v", place, err)
	default:
		told["second "+truth(t, second, next, place)]++
		if left := next.Spare(); left != nil {
			left.Discard()
		}
	}
}

// truth is what a daemon is told of an attempt, which must be so.
func truth(t *testing.T, l proc.Launch, c *Client, place string) string {
	t.Helper()
	x := c.Exit()
	start, started := l.Files.ReadStart()
	if start.Child != nil {
		waitGone(t, *start.Child)
	}
	ran := strings.Contains(printed(t, l), "ran")
	switch {
	case x.NotStarted && !started && !ran:
		return "never started"
	case x.SupervisorLost && started:
		return "not known"
	case x.Exited() && x.Code == 42 && ran:
		return "ended"
	case x.Signal == "SIGKILL" && x.Err == nil:
		return "hit itself" // strace follows the job too
	}
	t.Errorf("%s: told %+v; started %v, ran %v", place, x, started, ran)
	return "wrong"
}
