package server

import (
	"net"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// credentials asks the kernel who connected.
func credentials(c *net.UnixConn) (ipc.Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return ipc.Peer{}, err
	}
	var cred *unix.Ucred
	var inner error
	if err := raw.Control(func(fd uintptr) {
		cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || inner != nil {
		return ipc.Peer{}, orElse(err, inner)
	}
	return ipc.Peer{UID: int(cred.Uid), GID: int(cred.Gid), PID: int(cred.Pid)}, nil
}
