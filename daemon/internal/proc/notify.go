package proc

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// notifySocket takes the datagrams that sd_notify sends. A nil one is no
// socket at all.
type notifySocket struct {
	conn *net.UnixConn
	path string
}

// listenNotify makes the socket, for the child's user only.
func listenNotify(path string, cred *Credential) (*notifySocket, error) {
	addr := &net.UnixAddr{Name: path, Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", addr)
	if errors.Is(err, unix.EADDRINUSE) { // left there by a crash
		_ = os.Remove(path)
		conn, err = net.ListenUnixgram("unixgram", addr)
	}
	if err != nil {
		return nil, err
	}
	s := &notifySocket{conn: conn, path: path}
	if err := os.Chmod(path, 0o600); err != nil {
		s.close()
		return nil, err
	}
	if cred != nil {
		if err := os.Chown(path, int(cred.UID), int(cred.GID)); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// maxDatagram is what is read of a datagram: as much as systemd reads.
const maxDatagram = 4096

// read hands each datagram's words to the reporter.
func (s *notifySocket) read(r *reporter) {
	if s == nil {
		return
	}
	buf := make([]byte, maxDatagram)
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			return
		}
		if u, ok := ParseNotify(string(buf[:n])); ok {
			r.mu.Lock()
			r.merge(u)
			r.mu.Unlock()
		}
	}
}

// close ends the reading and removes the socket.
func (s *notifySocket) close() {
	if s == nil {
		return
	}
	_ = s.conn.Close()
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
