package server

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/activation"

	"dispatchd/ipc"
)

// Activated gives the socket that a service manager opened for this process
// ($LISTEN_FDS, sd_listen_fds(3)), nil when there is none. The manager's unit
// then says who may connect, and the manager removes the socket's file.
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
	l, err := Inherited(files[0])
	if p, typed := errors.AsType[*ipc.Error](err); typed {
		p.Suggestion = "set ListenStream=/run/dispatchd/control.sock in the socket unit"
		return nil, p
	}
	if err != nil {
		return nil, fmt.Errorf("the service manager's socket: %w", err)
	}
	return l, nil
}

// Inherited gives the listener of a descriptor that is open already. It works on
// a copy: the caller closes its file. Closing the listener keeps the socket's
// path.
func Inherited(f *os.File) (*net.UnixListener, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		_ = l.Close()
		return nil, ipc.Errorf(ipc.KindConfiguration, "the service manager opened a %s socket for the daemon: it speaks only on a Unix socket", l.Addr().Network())
	}
	u.SetUnlinkOnClose(false)
	return u, nil
}
