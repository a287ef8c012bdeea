package server

import (
	"cmp"
	"net"

	"dispatchd/ipc"
)

// credentials asks the kernel which process connected: SO_PEERCRED on Linux
// (unix(7)), LOCAL_PEERCRED on FreeBSD (unix(4)). Both name the peer as it was
// at connect, so that a later exec or setuid changes nothing.
func credentials(c *net.UnixConn) (ipc.Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return ipc.Peer{}, err
	}
	var peer ipc.Peer
	var failed error
	err = raw.Control(func(fd uintptr) { peer, failed = peerOfSocket(int(fd)) })
	return peer, cmp.Or(err, failed)
}
