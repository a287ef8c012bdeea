package proc

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// DefaultSignals has each child find every signal at its default, whatever this
// process inherited as ignored: execve(2) passes "ignored" on, and a shell cannot
// trap a signal that it was born to ignore. Go resets what it handles itself in
// each child (runtime.clearSignalHandlers), and leaves SIGHUP, SIGINT, SIGTSTP,
// SIGTTIN, SIGTTOU, SIGCONT and some real-time signals as they came.
//
// This process goes on ignoring what it was told to ignore: a handler without
// effect takes the place of "ignored", where package signal can have one. Where it
// cannot, such as for the first real-time signals, the signal gets its default here
// as well.
func DefaultSignals() {
	ignored := host{}.ignoredSignals()
	if len(ignored) == 0 {
		return
	}
	none := make(chan os.Signal, 1) // nobody reads it
	for _, s := range ignored {
		signal.Notify(none, s)
	}
	for _, s := range (host{}).ignoredSignals() {
		host{}.defaultSignal(s)
	}
}

// Unblocked calls fn, which starts a process, on a thread that blocks no signal:
// what was blocked where the daemon was started would be blocked in each job.
// The thread blocks what it blocked before when fn has returned.
func Unblocked(fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer host{}.unblockSignals()()
	return fn()
}

// ForkExec is syscall.ForkExec for a process that has no signal blocked.
func ForkExec(argv0 string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	err = Unblocked(func() (err error) {
		pid, err = syscall.ForkExec(argv0, argv, attr)
		return err
	})
	return pid, err
}
