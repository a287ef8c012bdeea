package server

import (
	"context"
	"net"
	"sync"
)

// retirement is the end of a server by which no request is lost. net/http's own
// Shutdown drops a request that it reads after it was called, without an
// answer, even one of a connection that was accepted before. Here the listening
// ends first, and each open connection gets its answer and is closed then.
type retirement struct {
	mu       sync.Mutex
	listener net.Listener
	retired  bool
	over     chan struct{} // closed when nothing is accepted any more
	none     chan struct{} // closed when that is so and no connection is open
	open     int
}

func newRetirement() *retirement {
	return &retirement{over: make(chan struct{}), none: make(chan struct{})}
}

// serves notes the listener that is to be closed.
func (r *retirement) serves(l net.Listener) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener = l
	if r.retired {
		_ = l.Close()
	}
}

// served notes that the listener is done, and says whether we closed it.
func (r *retirement) served() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.over)
	r.check()
	return r.retired
}

// opened and closed count the connections, count gives how many are open.
func (r *retirement) opened() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open++
	return r.open
}

func (r *retirement) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

func (r *retirement) closed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	r.check()
}

// check closes none when it is true.
func (r *retirement) check() {
	select {
	case <-r.none:
		return
	case <-r.over:
		if r.open == 0 {
			close(r.none)
		}
	default:
	}
}

// begin ends the listening.
func (r *retirement) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retired = true
	if r.listener != nil {
		_ = r.listener.Close()
	}
}

// wait returns when the last connection is closed, or ctx is done.
func (r *retirement) wait(ctx context.Context) error {
	select {
	case <-r.none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
