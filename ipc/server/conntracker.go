package server

import (
	"context"
	"net"
	"sync"
)

// connTracker counts the open connections, so that a stop loses no request. The
// listener closes first; each open connection gets its answer and is closed
// then. (net/http's own Shutdown drops, without an answer, a request that it
// reads after the call, even one of a connection that was accepted before.)
type connTracker struct {
	mu       sync.Mutex
	listener net.Listener
	stopping bool          // stopAccepting was called
	accepted chan struct{} // closed when Accept has returned for the last time
	drained  chan struct{} // closed when, after that, no connection is open
	open     int
}

func newConnTracker() *connTracker {
	return &connTracker{accepted: make(chan struct{}), drained: make(chan struct{})}
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

// opened counts a new connection and gives the number of open ones.
func (t *connTracker) opened() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open++
	return t.open
}

// count gives the number of open connections.
func (t *connTracker) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open
}

// closed counts the end of a connection.
func (t *connTracker) closed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open--
	t.check()
}

// check closes drained when nothing is accepted any more and nothing is open.
func (t *connTracker) check() {
	select {
	case <-t.drained:
		return
	case <-t.accepted:
		if t.open == 0 {
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
