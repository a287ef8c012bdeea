package peer

import (
	"syscall"

	"dispatchd/ipc"
)

// OfSocket names the process at the other end of a connected socket (SO_PEERCRED,
// unix(7)): for a server the one that connected, for a client the one that
// listened. Both are as they were then, so a later exec or setuid changes nothing.
func OfSocket(fd int) (ipc.Peer, error) {
	cred, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return ipc.Peer{}, err
	}
	return ipc.Peer{UID: int(cred.Uid), GID: int(cred.Gid), PID: int(cred.Pid)}, nil
}
