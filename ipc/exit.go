package ipc

import (
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Exit statuses of shells for what never ran (POSIX, XCU 2.8.2), and the base of
// those for signals.
const (
	ExitNotExecutable = 126
	ExitNotFound      = 127
	ExitSignalBase    = 128
)

// ExitStatus is the status that a shell would have given for the job's command:
// its own, 128 and the number of the signal that ended it, 127 for a program that
// was not found, 126 for one that could not be started. A job that did not run, or
// that was ended for its timeout or at somebody's wish, has that of its state.
func (j Job) ExitStatus() int {
	switch {
	case j.ExitCode != nil && *j.ExitCode != 0:
		return *j.ExitCode
	case j.State != Failed:
	case j.Error != nil && j.Error.ExitStatus > 0:
		return j.Error.ExitStatus
	case j.Error != nil && j.Error.Kind == KindStartFailed: // an earlier daemon wrote it
		return ExitNotExecutable
	case SignalNumber(j.Signal) > 0:
		return ExitSignalBase + SignalNumber(j.Signal)
	}
	return j.State.ExitCode()
}

// firstRealtime is SIGRTMIN as programs see it: glibc keeps 32 and 33 for itself.
func firstRealtime() int {
	if runtime.GOOS == "linux" {
		return 34
	}
	return 65
}

// SignalName is a signal's name, such as SIGKILL; a real-time signal counts from
// SIGRTMIN, as kill(1) has it, and one without a name is SIG and its number.
func SignalName(n int) string {
	for name, s := range signals() {
		if int(s) == n {
			return name
		}
	}
	switch above := n - firstRealtime(); {
	case above == 0:
		return "SIGRTMIN"
	case above > 0:
		return "SIGRTMIN+" + strconv.Itoa(above)
	}
	return "SIG" + strconv.Itoa(n)
}

// SignalNumber is the number of a signal that SignalName has named, 0 = it is none.
func SignalNumber(name string) int {
	if s, ok := signals()[name]; ok {
		return int(s)
	}
	base, digits := 0, strings.TrimPrefix(name, "SIG")
	if above, ok := strings.CutPrefix(name, "SIGRTMIN"); ok {
		base, digits = firstRealtime(), strings.TrimPrefix(above, "+")
		if above == "" {
			return base
		}
	}
	n, err := strconv.ParseUint(digits, 10, 8)
	if err != nil || digits == name {
		return 0
	}
	return base + int(n)
}

// signals are those that both systems have.
func signals() map[string]syscall.Signal {
	return map[string]syscall.Signal{
		"SIGHUP": syscall.SIGHUP, "SIGINT": syscall.SIGINT, "SIGQUIT": syscall.SIGQUIT, "SIGILL": syscall.SIGILL,
		"SIGTRAP": syscall.SIGTRAP, "SIGABRT": syscall.SIGABRT, "SIGBUS": syscall.SIGBUS, "SIGFPE": syscall.SIGFPE,
		"SIGKILL": syscall.SIGKILL, "SIGUSR1": syscall.SIGUSR1, "SIGSEGV": syscall.SIGSEGV, "SIGUSR2": syscall.SIGUSR2,
		"SIGPIPE": syscall.SIGPIPE, "SIGALRM": syscall.SIGALRM, "SIGTERM": syscall.SIGTERM, "SIGCHLD": syscall.SIGCHLD,
		"SIGCONT": syscall.SIGCONT, "SIGSTOP": syscall.SIGSTOP, "SIGTSTP": syscall.SIGTSTP, "SIGTTIN": syscall.SIGTTIN,
		"SIGTTOU": syscall.SIGTTOU, "SIGURG": syscall.SIGURG, "SIGXCPU": syscall.SIGXCPU, "SIGXFSZ": syscall.SIGXFSZ,
		"SIGVTALRM": syscall.SIGVTALRM, "SIGPROF": syscall.SIGPROF, "SIGWINCH": syscall.SIGWINCH, "SIGIO": syscall.SIGIO,
		"SIGSYS": syscall.SIGSYS,
	}
}
