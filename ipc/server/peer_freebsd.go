package server

import (
	"net"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// credentials asks the kernel who connected. FreeBSD's answer has no pid here.
func credentials(c *net.UnixConn) (ipc.Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return ipc.Peer{}, err
	}
	var cred *unix.Xucred
	var inner error
	if err := raw.Control(func(fd uintptr) {
		cred, inner = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	}); err != nil || inner != nil {
		return ipc.Peer{}, orElse(err, inner)
	}
	p := ipc.Peer{UID: int(cred.Uid), GID: -1}
	if cred.Ngroups > 0 {
		p.GID = int(cred.Groups[0])
	}
	return p, nil
}
