package proc

import (
	"errors"
	"syscall"
)

// Transient reports whether a start failed for want of something that the
// system is short of now: descriptors, processes, memory. The job is not at
// fault, and may be started later.
func Transient(err error) bool {
	for _, short := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM} {
		if errors.Is(err, short) {
			return true
		}
	}
	return false
}
