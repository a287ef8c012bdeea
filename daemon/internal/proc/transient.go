package proc

import (
	"errors"
	"syscall"
)

// errShimDied says that somebody killed a shim before it started anything.
var errShimDied = errors.New("its shim ended before it started anything")

// IsTransient reports whether a start failed for want of something that the
// system is short of now (descriptors, processes, memory), or because its shim
// was killed. The job is not at fault, and may be started later.
func IsTransient(err error) bool {
	for _, short := range []error{syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM, errShimDied} {
		if errors.Is(err, short) {
			return true
		}
	}
	return false
}
