package peer

import (
	"cmp"
	"syscall"

	"dispatchd/ipc"
)

// OfConn is OfSocket of a connection of package net's.
func OfConn(c syscall.Conn) (ipc.Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return ipc.Peer{}, err
	}
	var p ipc.Peer
	var failed error
	err = raw.Control(func(fd uintptr) { p, failed = OfSocket(int(fd)) })
	return p, cmp.Or(err, failed)
}
