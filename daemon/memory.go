package daemon

import (
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"dispatchd/daemon/internal/proc"
)

// calm is after how long without an event the memory of a busy time is given
// back to the system.
const calm = 5 * time.Second

// memory says when the daemon has come to rest, so that it gives the memory of
// the busy time back: the runtime would keep it, and on a small box others need
// it. It belongs to the loop, and its times are on the queue's clock. The zero
// value waits for the start's own rest: the start leaves much behind.
type memory struct {
	given bool          // since the last event
	last  time.Duration // event
}

// event notes that the daemon did something.
func (m *memory) event(now time.Duration) { m.given, m.last = false, now }

// next is how long it may still take until the daemon is at rest; false: it is,
// and its memory has been given back.
func (m *memory) next(now time.Duration) (time.Duration, bool) {
	return m.last + calm - now, !m.given
}

// rests reports, once after the last event, that the daemon has come to rest.
func (m *memory) rests(now time.Duration) bool {
	if m.given || now < m.last+calm {
		return false
	}
	m.given = true
	return true
}

// limitMemory has the runtime keep within what the control group lets the process
// have: without that it would let the heap grow to twice what is in use, and be
// killed. A quarter is left to what is no heap, and to jobs in the same group.
// $GOMEMLIMIT says otherwise.
func limitMemory(log *slog.Logger) {
	limit := proc.MemoryLimit()
	if limit <= 0 || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(limit / 4 * 3)
	log.Debug("the control group limits memory", "bytes", limit)
}

// giveBack gives the memory of the busy time back: free heap, which the runtime
// would keep, and the program's pages, most of which the start alone touched.
// It collects garbage, for which it must not run on the loop, and not at once
// after a start whose clients wait: there returnProgram does by itself.
func giveBack(log *slog.Logger) {
	debug.FreeOSMemory()
	returnProgram(log)
}

// returnProgram gives the program's pages back. Without it the daemon works all
// the same, so a system that does not let it is not worth a warning.
func returnProgram(log *slog.Logger) {
	if err := proc.ReturnProgram(); err != nil {
		log.Debug("the program's pages are kept", "error", err)
	}
}
