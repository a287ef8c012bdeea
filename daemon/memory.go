package daemon

import "time"

// calm is after how long without an event the memory of a busy time is given
// back to the system.
const calm = 5 * time.Second

// memory says when the daemon has come to rest, so that it gives the memory of
// the busy time back: the runtime would keep it, and on a small box others need
// it. It belongs to the loop.
type memory struct {
	timer *time.Timer
	armed bool
	last  time.Duration // event, by the queue's clock
}

// newMemory makes one that is armed: the start leaves much behind.
func newMemory() *memory { return &memory{timer: time.NewTimer(calm), armed: true} }

// event notes that the daemon did something.
func (m *memory) event(now time.Duration) {
	m.last = now
	if !m.armed {
		m.armed = true
		m.timer.Reset(calm)
	}
}

// rests is asked when the timer is over. If it says no, the timer runs again;
// else not before the next event.
func (m *memory) rests(now time.Duration) bool {
	left := m.last + calm - now
	m.armed = left > 0
	if m.armed {
		m.timer.Reset(left)
	}
	return !m.armed
}
