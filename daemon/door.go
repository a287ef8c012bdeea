package daemon

import (
	"net"
	"sync"
)

// door is what the server accepts on. The socket behind it may be replaced by
// another: those who are inside do not notice.
type door struct {
	mu     sync.Mutex
	socket net.Listener
	closed bool
}

// current is the socket of now.
func (d *door) current() net.Listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.socket
}

// Accept is net.Listener's.
func (d *door) Accept() (net.Conn, error) {
	for {
		from := d.current()
		c, err := from.Accept()
		if err == nil || d.current() == from {
			return c, err
		}
	}
}

// Close is net.Listener's.
func (d *door) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return d.socket.Close()
}

// Addr is net.Listener's.
func (d *door) Addr() net.Addr { return d.current().Addr() }

// replace has the door accept on another socket, and closes the one before.
func (d *door) replace(socket net.Listener) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.socket
	d.socket = socket
	_ = before.Close()
	if d.closed {
		_ = socket.Close()
	}
}
