//go:build linux

package shim

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// steps are the system calls by which a supervisor changes what others see, and how
// often its thread makes them for one job.
func steps() map[string]int {
	return map[string]int{
		"read": 4, "openat": 9, "write": 3, "pwrite64": 2, "fcntl": 4, "pipe2": 2, "bind": 1, "fchmodat": 1, "chmod": 1, "clone": 2, "clone3": 1,
		"pidfd_open": 1, "poll": 3, "ppoll": 3, "accept4": 2, "recvmsg": 3, "sendmsg": 4, "waitid": 1, "wait4": 1, "ftruncate": 1,
		"rename": 1, "renameat": 1, "unlink": 2, "unlinkat": 2, "close": 20, "exit_group": 1,
	}
}

// A supervisor is killed at each of its steps, or its job is. Whatever its daemon is told then is
// true: a job that was never started has not run, one that has ended has ended so,
// of one whose end is not known nothing is left; and the lock is free.
func TestKilledAtEachStep(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	told := map[string]int{}
	for call, most := range steps() {
		for n := range most {
			told[killedAt(t, strace, call, n+1)]++
		}
	}
	t.Logf("%v", told)
	for _, want := range []string{"never started", "not known", "ended"} {
		if told[want] == 0 {
			t.Errorf("nothing was %s: this test tests little", want)
		}
	}
}

// killedAt kills a supervisor at the nth call of a kind, and gives what its daemon is
// told of the attempt.
func killedAt(t *testing.T, strace, call string, n int) string {
	t.Helper()
	l := newLaunch(t, "exit", "CODE=42")
	lock := newLock(t)
	argv := append([]string{
		strace, "-D", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n),
	}, self()...)
	c, err := Start(argv, l, []*os.File{lock}, ignore)
	if err != nil {
		t.Fatal(err)
	}
	_ = lock.Close()
	x := c.Exit()
	start, started := l.Files.ReadStart()
	if start.Child != nil {
		waitGone(t, *start.Child)
	}
	ran := strings.Contains(printed(t, l), "ran")
	place := fmt.Sprintf("killed at %s %d", call, n)
	waitFree(t, lock.Name(), place)
	switch {
	case x.NotStarted && !started && !ran:
		return "never started"
	case x.SupervisorLost && started:
		return "not known"
	case x.Exited() && x.Code == 42 && ran:
		return "ended"
	case x.Signal == "SIGKILL" && x.Err == nil:
		return "the job was hit" // strace follows it too
	}
	t.Errorf("%s: told %+v; started %v, ran %v", place, x, started, ran)
	return "wrong"
}

// waitFree waits until a lock is free: the tracer may hold it a moment longer.
func waitFree(t *testing.T, lock, place string) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !isFree(t, lock) {
		select {
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatalf("%s: the lock is held", place)
		}
	}
}
