package console

import (
	"os"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
	"dispatchd/ipc/terminal"
)

// Closed refuses a standard output that was closed when the program began, as by
// ">&-". The Go runtime opens /dev/null in its place, for reading and writing,
// before any of our code runs (runtime.checkfds), so that writing to it never
// fails. A shell's ">/dev/null" is for writing only and is fine. Some launchers
// discard an output by a /dev/null for both, as Python's DEVNULL: where they do so
// for standard error, too, it is fine. It is asked only by commands that do
// nothing but print.
func Closed(out *terminal.Output) error {
	f := terminal.FileOf(out)
	if f == nil || f.Fd() != 1 || !isNullForBoth(1) || isNullForBoth(2) {
		return nil
	}
	p := ipc.Errorf(ipc.KindInternal, "standard output is closed: nothing can be printed")
	p.Suggestion = "to print nothing, use >/dev/null"
	return p
}

// isNullForBoth reports whether a descriptor is /dev/null, open for reading and
// writing.
func isNullForBoth(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_ACCMODE != unix.O_RDWR {
		return false
	}
	ours, err := os.Stat("/dev/fd/" + string(rune('0'+fd)))
	null, nullErr := os.Stat(os.DevNull)
	return err == nil && nullErr == nil && os.SameFile(ours, null)
}
