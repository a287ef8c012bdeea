package server

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// madeInGroup has what fn makes belong to a group from its first moment on, so that
// no member of it is refused before the group is set; -1 = no group. Where this
// thread may not, it belongs to the daemon's as ever.
func madeInGroup(gid int, fn func()) {
	if gid < 0 {
		fn()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.SetfsgidRetGid(gid)
	if err == nil {
		defer func() { _, _ = unix.SetfsgidRetGid(before) }()
	}
	fn()
}
