package notify

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"dispatchd/ipc/peer"
)

// Limits bound what is done with a connection, its making included.
type Limits struct {
	Until  time.Time   // zero = no end
	Slow   time.Time   // when OnSlow is called, once, if a call still waits then
	OnSlow func(*Conn) // nil = nobody
}

// Conn is a connection to the daemon's socket with blocking calls. net's poller
// and its threads cost a tenth of the tiny client's processor time, and a program
// that does one thing has no use for them.
type Conn struct {
	socket    string
	fd        int
	limits    Limits
	timed     bool // a call had a timeout
	connected bool
	server    int // process id of who listens, 0 = not known
}

// Dial connects to the socket, whoever serves it.
func Dial(socket string) (*Conn, error) {
	c := &Conn{socket: socket}
	return c, c.connect()
}

// DialTrusted connects to the socket within limits, and asks the kernel who serves
// it before a byte is sent. Where time runs out, the error is os.ErrDeadlineExceeded,
// and the connection, which is closed, still says what the daemon does.
func DialTrusted(socket string, l Limits) (*Conn, error) {
	c := &Conn{socket: socket, limits: l}
	if err := c.connect(); err != nil {
		return c, err
	}
	server, err := peer.OfSocket(c.fd)
	if err == nil {
		c.server = server.PID
		err = peer.Trusted(server, socket, "")
	}
	if err != nil {
		_ = c.Close()
	}
	return c, err
}

// connect connects. Where the socket's backlog is full, connect(2) waits as long
// as a write may.
func (c *Conn) connect() error {
	var err error
	c.fd, err = syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	_, err = c.call(syscall.SO_SNDTIMEO, "connect", func() (int, error) {
		err := syscall.Connect(c.fd, &syscall.SockaddrUnix{Name: c.socket})
		if err == syscall.EISCONN { // it went on after a signal
			err = nil
		}
		return 0, err
	})
	if err != nil {
		_ = syscall.Close(c.fd)
		return err
	}
	c.connected = true
	return nil
}

// Silence says what the daemon does instead of an answer, as far as the kernel
// tells.
func (c *Conn) Silence() string { return peer.Silence(c.connected, c.server, c.socket) }

// SetDeadline bounds all calls from now on; the zero time ends that.
func (c *Conn) SetDeadline(t time.Time) error {
	c.limits.Until = t
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

// call makes a call within the limits, and again after a signal (EINTR).
func (c *Conn) call(option int, name string, fn func() (int, error)) (int, error) {
	for {
		if err := c.setTimeout(option); err != nil {
			return 0, err
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

// setTimeout has the kernel end the next call when a limit is reached. The one
// that is reached already is told, or is the error.
func (c *Conn) setTimeout(option int) error {
	next := c.limits.Until
	if c.limits.OnSlow != nil {
		if tell := c.limits.OnSlow; !time.Now().Before(c.limits.Slow) {
			c.limits.OnSlow = nil
			tell(c)
		} else if next.IsZero() || c.limits.Slow.Before(next) {
			next = c.limits.Slow
		}
	}
	var limit syscall.Timeval // 0 = none
	switch left := time.Until(next); {
	case next.IsZero() && !c.timed:
		return nil
	case next.IsZero():
	case left <= 0 && next.Equal(c.limits.Until):
		return os.ErrDeadlineExceeded
	default:
		limit, c.timed = syscall.NsecToTimeval(int64(max(left, time.Microsecond))), true
	}
	return os.NewSyscallError("setsockopt", syscall.SetsockoptTimeval(c.fd, syscall.SOL_SOCKET, option, &limit))
}
