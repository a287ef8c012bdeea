package server

import (
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"

	"dispatchd/ipc"
)

// Activated gives the socket that a service manager opened for this process
// ($LISTEN_FDS, see sd_listen_fds(3)), nil when there is none. Who may connect
// is then the manager's to say, and the socket's file is not ours to remove.
func Activated() (*net.UnixListener, error) {
	files := activation.Files(true)
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	if len(files) == 0 {
		return nil, nil
	}
	if len(files) > 1 {
		p := ipc.Errorf(ipc.KindConfiguration, "the service manager opened %d sockets for the daemon, and it has use for one", len(files))
		p.Suggestion = "leave one ListenStream= in the socket unit"
		return nil, p
	}
	l, err := net.FileListener(files[0])
	if err != nil {
		return nil, fmt.Errorf("the service manager's socket: %w", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		_ = l.Close()
		p := ipc.Errorf(ipc.KindConfiguration, "the service manager opened a %s socket for the daemon: it speaks only on a Unix socket", l.Addr().Network())
		p.Suggestion = "set ListenStream=/run/dispatchd/control.sock in the socket unit"
		return nil, p
	}
	u.SetUnlinkOnClose(false)
	return u, nil
}
