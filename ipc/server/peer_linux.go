package server

import (
	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// peerOfSocket gives user, group and pid.
func peerOfSocket(fd int) (ipc.Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return ipc.Peer{}, err
	}
	return ipc.Peer{UID: int(cred.Uid), GID: int(cred.Gid), PID: int(cred.Pid)}, nil
}
