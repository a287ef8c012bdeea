package proc

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/output"
	"dispatchd/ipc"
)

// Exit is how a child ended.
type Exit struct {
	Code           int    // of one that could not be started: StartCode
	Signal         string // such as SIGKILL, "" when it ended by itself
	TimedOut       bool
	Canceled       bool
	Terminated     bool   // Canceled by a SIGTERM to its supervisor, of which dispatchd knows nothing
	Err            error  // it could not be started
	SupervisorLost bool   // its end is not known: its supervisor, or its daemon, died before it
	Lost           string // why so, or why it was killed, in words
	NotStarted     bool   // it never started, and may be started again
	Result         json.RawMessage
	Failure        json.RawMessage // the child's own words of why it fails
	Started        time.Time
	Ended          time.Time
	Progress       *ipc.Progress
	Output         *output.Totals // nil = nobody counted: its log tells
}

// Exited reports whether a child ran and ended with a code of its own, asked
// to or not.
func (e Exit) Exited() bool {
	return e.Err == nil && e.Signal == "" && !e.SupervisorLost && !e.NotStarted
}

// outOfMemoryText words the end of a child that the system killed for want of memory.
func outOfMemoryText(limit string) string {
	if limit == "" || limit == "max" {
		return "the system killed it for want of memory"
	}
	return "the system killed it for want of memory, of which it may have " + limit + " bytes"
}

// reap takes the status of a dead child.
func reap(pid int) (unix.WaitStatus, error) {
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(pid, &status, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			return status, err
		}
	}
}

// judge reads a wait status. A signal's code is that of a shell.
func (e *Exit) judge(status unix.WaitStatus, err error) {
	switch {
	case err != nil:
		e.Err = os.NewSyscallError("wait", err)
	case status.Signaled():
		e.Signal = signalName(status.Signal())
		e.Code = 128 + int(status.Signal())
	default:
		e.Code = status.ExitStatus()
	}
}

// signalName is a signal's name. x/sys has none for real-time signals: their jobs
// seemed to have exited by themselves, with 128 and the number.
func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return ipc.SignalName(int(s))
}

// StartCode is the code of a child that could not be started, as a shell has it.
func StartCode(err error) int {
	if errors.Is(err, fs.ErrNotExist) {
		return ipc.ExitNotFound
	}
	return ipc.ExitNotExecutable
}

// ErrSupervisorDied says that a supervisor was killed before it started anything.
var ErrSupervisorDied = errors.New("its supervisor ended before it started anything")

// OwnError is a fault of what is ours, and not the job's: a file of an attempt that
// cannot be made, a supervisor that cannot be executed. A job that could not be
// started for its sake has not failed.
type OwnError struct{ Err error }

// Error is that of the fault.
func (e *OwnError) Error() string { return e.Err.Error() }

// Unwrap is for errors.Is.
func (e *OwnError) Unwrap() error { return e.Err }

// Own marks an error as a fault of what is ours; nil stays nil.
func Own(err error) error {
	if err == nil {
		return nil
	}
	return &OwnError{err}
}

// IsTransient reports whether a start failed for want of something that the
// system is short of now (descriptors, processes, memory, room on a disk), because
// its supervisor was killed, or by another fault of what is ours. The job is not at
// fault, and may be started later.
func IsTransient(err error) bool {
	for _, short := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM, ErrSupervisorDied, ErrUnmarked} {
		if errors.Is(err, short) {
			return true
		}
	}
	_, ours := errors.AsType[*OwnError](err)
	return ours || IsFull(err)
}

// IsFull reports whether an error is for want of room: a disk is full, or what a user
// may have of it is used up. What another process has told is known by its words.
func IsFull(err error) bool {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) || err != nil && strings.HasSuffix(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}
