package peer

import (
	"syscall"
	"unsafe"

	"dispatchd/ipc"
)

// xucred is struct xucred of sys/ucred.h as 64-bit systems lay it out. The last
// member is a union with a pointer, of which cr_pid is the first half (since
// FreeBSD 13; 0 before). x/sys has no name for it.
type xucred struct {
	version uint32
	uid     uint32
	ngroups int16
	groups  [16]uint32
	_       int32 // the union is aligned to 8 bytes: pid is at 80
	pid     int32
	_       int32
}

// solLocal and localPeercred are SOL_LOCAL and LOCAL_PEERCRED of sys/un.h.
const solLocal, localPeercred = 0, 1

// OfSocket names the process at the other end of a connected socket
// (LOCAL_PEERCRED, unix(4)): for a server the one that connected, for a client
// the one that listened. Both are as they were then.
func OfSocket(fd int) (ipc.Peer, error) {
	var cred xucred
	size := uint32(unsafe.Sizeof(cred))
	_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), solLocal, localPeercred,
		uintptr(unsafe.Pointer(&cred)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return ipc.Peer{}, errno
	}
	p := ipc.Peer{UID: int(cred.uid), GID: -1, PID: int(cred.pid)}
	if cred.ngroups > 0 {
		p.GID = int(cred.groups[0])
	}
	return p, nil
}
