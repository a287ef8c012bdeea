package notify

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// Conn is a connection to the daemon's socket with blocking calls. net's poller
// and its threads cost a tenth of the tiny client's processor time, and a program
// that does one thing has no use for them.
type Conn struct {
	fd    int
	until time.Time // zero = no deadline
}

// Dial connects to the socket.
func Dial(socket string) (*Conn, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	for {
		err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: socket})
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil && err != syscall.EISCONN { // EISCONN: connect went on after a signal
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return &Conn{fd: fd}, nil
}

// SetDeadline bounds all calls from now on; the zero time ends that.
func (c *Conn) SetDeadline(t time.Time) error {
	c.until = t
	return nil
}

// Close ends the connection.
func (c *Conn) Close() error { return syscall.Close(c.fd) }

// Read is io.Reader's.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.call(syscall.SO_RCVTIMEO, "read", func() (int, error) { return syscall.Read(c.fd, p) })
	if n == 0 && err == nil && len(p) > 0 {
		return 0, io.EOF
	}
	return n, err
}

// Write is io.Writer's.
func (c *Conn) Write(p []byte) (done int, err error) {
	for done < len(p) {
		n, err := c.call(syscall.SO_SNDTIMEO, "write", func() (int, error) { return syscall.Write(c.fd, p[done:]) })
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// call makes a call within the rest of the deadline, and again after a signal
// (EINTR).
func (c *Conn) call(option int, name string, fn func() (int, error)) (int, error) {
	for {
		if !c.until.IsZero() {
			left := time.Until(c.until)
			if left <= 0 {
				return 0, os.ErrDeadlineExceeded
			}
			limit := syscall.NsecToTimeval(int64(max(left, time.Microsecond)))
			if err := syscall.SetsockoptTimeval(c.fd, syscall.SOL_SOCKET, option, &limit); err != nil {
				return 0, os.NewSyscallError("setsockopt", err)
			}
		}
		n, err := fn()
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EAGAIN): // EAGAIN: the time has run out, as the next turn finds
		default:
			return 0, os.NewSyscallError(name, err)
		}
	}
}
