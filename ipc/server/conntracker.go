package server

import (
	"context"
	"net"
	"sync"

	"dispatchd/ipc"
)

// connTracker knows the open connections and who has them, for places, and so that
// a stop loses no request. The listener closes first; each open connection gets its
// answer and is closed then. (net/http's own Shutdown drops, without an answer, a
// request that it reads after the call, even one of a connection that was accepted
// before.)
type connTracker struct {
	mu       sync.Mutex
	listener net.Listener
	stopping bool          // stopAccepting was called
	accepted chan struct{} // closed when Accept has returned for the last time
	drained  chan struct{} // closed when, after that, no connection is open
	open     map[*conn]struct{}
	files    int // that answers have open
	waiting  int // requests that wait for what may take for ever
}

func newConnTracker() *connTracker {
	return &connTracker{accepted: make(chan struct{}), drained: make(chan struct{}), open: map[*conn]struct{}{}}
}

// accepting keeps the listener for stopAccepting, and closes it where that was
// called before.
func (t *connTracker) accepting(l net.Listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listener = l
	if t.stopping {
		_ = l.Close()
	}
}

// stopped marks the end of accepting. It reports whether stopAccepting was its
// cause.
func (t *connTracker) stopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.accepted)
	t.check()
	return t.stopping
}

// count gives the number of open connections.
func (t *connTracker) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// waits gives the number of requests that wait.
func (t *connTracker) waits() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}

// opened counts a new connection and gives the number of descriptors in use.
func (t *connTracker) opened(c *conn) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open[c] = struct{}{}
	return len(t.open) + t.files
}

// ofProcess counts the connections of one process.
func (t *connTracker) ofProcess(p ipc.Peer) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for c := range t.open {
		if c.peer.PID == p.PID {
			n++
		}
	}
	return n
}

// taken is the number of descriptors in use.
func (t *connTracker) taken() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open) + t.files
}

// openFile counts one more descriptor, unless limit are in use.
func (t *connTracker) openFile(limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open)+t.files >= limit {
		return false
	}
	t.files++
	return true
}

// closeFile counts its end.
func (t *connTracker) closeFile() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files--
}

// beginWait counts a request that waits, unless limit do.
func (t *connTracker) beginWait(c *conn, limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting >= limit {
		return false
	}
	t.waiting++
	c.waits.Store(true)
	return true
}

// endWait counts its end.
func (t *connTracker) endWait(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting--
	c.waits.Store(false)
}

// closed counts the end of a connection.
func (t *connTracker) closed(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
	t.check()
}

// check closes drained when nothing is accepted any more and nothing is open.
func (t *connTracker) check() {
	select {
	case <-t.drained:
		return
	case <-t.accepted:
		if len(t.open) == 0 {
			close(t.drained)
		}
	default:
	}
}

// stopAccepting closes the listener.
func (t *connTracker) stopAccepting() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopping = true
	if t.listener != nil {
		_ = t.listener.Close()
	}
}

// drain waits until the last connection is closed, or ctx is done.
func (t *connTracker) drain(ctx context.Context) error {
	select {
	case <-t.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
