package server

import (
	"context"
	"net"
	"sync"
)

// connTracker is the end of a server by which no request is lost. net/http's own
// Shutdown drops a request that it reads after it was called, without an
// answer, even one of a connection that was accepted before. Here the listening
// ends first, and each open connection gets its answer and is closed then.
type connTracker struct {
	mu       sync.Mutex
	listener net.Listener
	stopping bool
	accepted chan struct{} // closed when nothing is accepted any more
	none     chan struct{} // closed when that is so and no connection is open
	open     int
}

func newConnTracker() *connTracker {
	return &connTracker{accepted: make(chan struct{}), none: make(chan struct{})}
}

// accepting notes the listener that is to be closed.
func (r *connTracker) accepting(l net.Listener) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener = l
	if r.stopping {
		_ = l.Close()
	}
}

// stopped notes that the listener is done, and says whether we closed it.
func (r *connTracker) stopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.accepted)
	r.check()
	return r.stopping
}

// opened and closed count the connections, count gives how many are open.
func (r *connTracker) opened() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open++
	return r.open
}

func (r *connTracker) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

func (r *connTracker) closed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	r.check()
}

// check closes none when it is true.
func (r *connTracker) check() {
	select {
	case <-r.none:
		return
	case <-r.accepted:
		if r.open == 0 {
			close(r.none)
		}
	default:
	}
}

// stopAccepting ends the listening.
func (r *connTracker) stopAccepting() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopping = true
	if r.listener != nil {
		_ = r.listener.Close()
	}
}

// drain returns when the last connection is closed, or ctx is done.
func (r *connTracker) drain(ctx context.Context) error {
	select {
	case <-r.none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
