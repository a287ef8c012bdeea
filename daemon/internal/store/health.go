package store

import (
	"sync"
	"time"
)

const (
	compactMin   = 4 << 20          // a smaller journal is not worth a compaction
	compactPause = 10 * time.Second // how long a compaction that failed is not tried again
)

// health is what is known of the journal outside of its writer. Any goroutine may
// ask; the writer alone changes it.
type health struct {
	mu        sync.Mutex
	failed    error // the file is broken: only a rewrite helps
	full      error // no space for what needs space of its own
	onFail    func(error)
	onFull    func(error)
	onAgain   func(aside string, err error) // the file was gone from its place
	size      int64                         // written
	base      int64                         // size of the last snapshot
	compactAt time.Time                     // not before
}

// setOnFail gives why the journal is broken already, or nil.
func (h *health) setOnFail(fn func(error)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onFail = fn
	return h.failed
}

func (h *health) setOnFull(fn func(error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onFull = fn
}

func (h *health) setOnReinstated(fn func(string, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onAgain = fn
}

// tellReinstated tells that the file was gone from its place.
func (h *health) tellReinstated(aside string, err error) {
	h.mu.Lock()
	tell := h.onAgain
	h.mu.Unlock()
	if tell != nil {
		tell(aside, err)
	}
}

// broken is why the file cannot be written any more, or nil.
func (h *health) broken() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}

// isFull is why nothing that needs space is taken now, or nil.
func (h *health) isFull() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.full
}

// setFailed notes why the file is broken, nil = it is whole again, and gives the
// function that is to be told. A broken file is not full: that no longer matters.
func (h *health) setFailed(err error) (tell func(error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = err
	if err != nil {
		h.full = nil
	}
	return h.onFail
}

// setFull notes that there is no space, nil = there is again, and tells so.
func (h *health) setFull(err error) {
	h.mu.Lock()
	h.full = err
	tell := h.onFull
	h.mu.Unlock()
	if tell != nil {
		tell(err)
	}
}

// grown notes how much is written.
func (h *health) grown(size int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.size = size
}

// rewritten notes that a snapshot of a size is all that is written.
func (h *health) rewritten(size int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.size, h.base = size, size
}

// putOffCompaction has a compaction that failed not tried again for a while.
func (h *health) putOffCompaction(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.compactAt = now.Add(compactPause)
}

// compactDue reports whether the journal has grown enough to be rewritten.
func (h *health) compactDue(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed == nil && h.full == nil && h.size > compactMin && h.size > 4*h.base && now.After(h.compactAt)
}
