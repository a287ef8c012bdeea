package server

import (
	"context"
	"net"
	"sync"
)

// connTracker knows the open connections and who has them (places.go), so that a stop loses no request. The
// listener closes first; each open connection gets its answer and is closed
// then. (net/http's own Shutdown drops, without an answer, a request that it
// reads after the call, even one of a connection that was accepted before.)
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
