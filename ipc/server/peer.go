package server

import (
	"cmp"
	"net"

	"dispatchd/ipc"
	"dispatchd/ipc/peer"
)

// credentials asks the kernel which process connected.
func credentials(c *net.UnixConn) (ipc.Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return ipc.Peer{}, err
	}
	var by ipc.Peer
	var failed error
	err = raw.Control(func(fd uintptr) { by, failed = peer.OfSocket(int(fd)) })
	return by, cmp.Or(err, failed)
}
