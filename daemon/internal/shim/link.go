package shim

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// link is a connection to a supervisor, from its birth or its adoption on. One
// goroutine reads it, to the supervisor's end.
type link struct {
	fd   int
	file *os.File // of fd, for the reader
	pid  int      // of a supervisor that is our child, 0 = it is not

	program program // of a supervisor that we started

	mu      sync.Mutex
	lastID  uint32
	closed  bool
	client  *Client    // whose attempt it is
	next    *Client    // of a next that was sent
	nextID  uint32     // and its request
	answers chan error // what became of it
}

// errDeaf says that a supervisor does not read: somebody has stopped it.
var errDeaf = errors.New("its supervisor does not read")

// dial connects to the supervisor of an attempt. It does not wait: a supervisor that
// lets nobody in is an error.
func dial(path string) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	err = withAddress(path, func(a *unix.SockaddrUnix) error { return unix.Connect(fd, a) })
	if err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// newLink takes over a connection for a client.
func newLink(fd int, c *Client) *link {
	l := &link{fd: fd, file: os.NewFile(uintptr(fd), "supervisor"), pid: c.pid, client: c, answers: make(chan error, 1)}
	c.setWay(l)
	return l
}

// greet agrees on the version, and asks to be told what the job says.
func (l *link) greet() error {
	return l.send(Request{Verb: Hello, Min: Version, Max: Version}, Request{Verb: Attach})
}

// send sends requests.
func (l *link) send(list ...Request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sendLocked(nil, list...)
}

// sendLocked sends requests, and descriptors with the first. They are shorter than
// any socket's buffer, so they are taken whole or, by a supervisor that is stopped,
// not at all. The caller holds mu.
func (l *link) sendLocked(oob []byte, list ...Request) error {
	if l.closed {
		return os.ErrProcessDone
	}
	var text []byte
	for _, r := range list {
		l.lastID++
		r.ID = l.lastID
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		text = append(append(text, line...), '\n')
	}
	for {
		n, err := unix.SendmsgN(l.fd, text, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN), err == nil && n < len(text):
			return errDeaf
		}
		return os.NewSyscallError("sendmsg", err)
	}
}

// close is channel's.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		_ = l.file.Close()
	}
}

// read takes what the supervisor says, to its end. A connection that was closed here
// ends nothing but the reading.
func (l *link) read() {
	lines := bufio.NewReader(l.file)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var r Reply
		if json.Unmarshal(line, &r) != nil {
			continue
		}
		if c := l.addressee(r); c != nil {
			c.handle(r)
		}
	}
	l.close()
	if l.client.isLeft() && !l.client.isOver() {
		return // it goes on, and is somebody else's
	}
	waitSupervisor(l.client)
	l.client.gone()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != nil {
		l.next = nil
		l.answers <- errGone
	}
}

// addressee is the client that a reply is for, nil = none. The answer to a next is
// the border between the two attempts: all that comes after it is the next one's.
func (l *link) addressee(r Reply) *Client {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == nil || r.ID != l.nextID {
		return l.client
	}
	var err error
	if r.Error != "" {
		err = refusedError{r}
	} else {
		l.client = l.next
	}
	l.next = nil
	l.answers <- err
	return nil
}

// waitSupervisor waits until a client's supervisor is gone, and with it its hold on the
// locks: its socket closes a moment earlier.
func waitSupervisor(c *Client) {
	if c.pid != 0 {
		for {
			if _, err := unix.Wait4(c.pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}
	supervisor := c.supervisor()
	if supervisor == nil {
		return
	}
	ticker := time.NewTicker(gonePoll)
	defer ticker.Stop()
	for supervisor.Alive() {
		<-ticker.C
	}
	// After an upgrade in place the supervisors of before are still our children.
	_, _ = unix.Wait4(supervisor.PID, nil, unix.WNOHANG, nil)
}

// gonePoll is how often a supervisor that is on its way out is looked at.
const gonePoll = 3 * time.Millisecond
