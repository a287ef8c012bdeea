package console

import (
	"errors"
	"fmt"
	"syscall"

	"dispatchd/ipc"
	"dispatchd/ipc/terminal"
)

// Finish closes the outputs of a command and gives its exit code: one that would
// have ended with 0 ends with ipc.ExitInternal if not all of its output could be
// written. job is the job that it has asked for, "" = none: that one goes on.
func Finish(out, errw *terminal.Output, program string, asJSON bool, code int, job string) int {
	err := out.Close()
	if err != nil && !errors.Is(err, syscall.EPIPE) { // a reader that has gone wants no more, nor words about it
		Report(errw, program, asJSON, outputError("standard output", err, job))
	}
	err = errors.Join(err, errw.Flush())
	if err != nil && code == ipc.ExitOK {
		return ipc.ExitInternal
	}
	return code
}

// outputError is the error of an output that could not be written.
func outputError(name string, err error, job string) error {
	cause := err
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		cause = errno
	}
	p := ipc.Errorf(ipc.KindInternal, "%s could not be written: %v", name, cause)
	p.Suggestion = "only the printing failed; what was asked for was done"
	if job != "" {
		p.Job = job
		p.Suggestion = fmt.Sprintf("job %s is accepted all the same: dispatchctl show %s", job, job)
	}
	return p
}

// Lost gives nil for an error that is the one of out: Finish tells it.
func Lost(out *terminal.Output, err error) error {
	if lost := out.Err(); lost != nil && errors.Is(err, lost) {
		return nil
	}
	return err
}
