package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// notifySocket takes the datagrams that sd_notify sends. A nil one is no
// socket at all.
type notifySocket struct {
	fd   int
	path string
}

// maxDatagram is what is read of a datagram: as much as systemd reads.
const maxDatagram = 4096

// listenNotify makes the socket, for the child's user only. Package net would
// take three calls more, for each job.
func listenNotify(path string, cred *Credential) (*notifySocket, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	addr := &unix.SockaddrUnix{Name: path}
	err = unix.Bind(fd, addr)
	if errors.Is(err, unix.EADDRINUSE) { // left there by a crash
		_ = unix.Unlink(path)
		err = unix.Bind(fd, addr)
	}
	if err == nil {
		err = unix.Chmod(path, 0o600)
	}
	if err == nil && cred != nil {
		err = unix.Chown(path, int(cred.UID), int(cred.GID))
	}
	s := &notifySocket{fd: fd, path: path}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("notify socket: %w", err)
	}
	return s, nil
}

// close gives the socket back and removes its file.
func (s *notifySocket) close() {
	if s == nil {
		return
	}
	_ = unix.Close(s.fd)
	_ = unix.Unlink(s.path)
}

// ParseNotify reads a datagram of sd_notify(3): STATUS=, X_PROGRESS= (0 to
// 100), EXTEND_TIMEOUT_USEC=. WATCHDOG=1 and the rest are taken and ignored.
func ParseNotify(text string) (Update, bool) {
	var u Update
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\n"), "=")
		switch name {
		case "STATUS":
			u.Message = clip(strings.ToValidUTF8(value, "�"))
		case "X_PROGRESS":
			if p, ok := percentOf(value, ""); ok {
				u.Percent = p.Percent
			}
		case "EXTEND_TIMEOUT_USEC":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 && n < int64(24*time.Hour/time.Microsecond) {
				u.ExtendTimeout = time.Duration(n) * time.Microsecond
			}
		}
	}
	return u, u.Percent != nil || u.Message != "" || u.ExtendTimeout > 0
}
