package server

import (
	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// peerOfSocket gives user and group. The kernel's answer has a pid, and the
// structure that x/sys reads it into has none.
func peerOfSocket(fd int) (ipc.Peer, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return ipc.Peer{}, err
	}
	p := ipc.Peer{UID: int(cred.Uid), GID: -1}
	if cred.Ngroups > 0 {
		p.GID = int(cred.Groups[0])
	}
	return p, nil
}
