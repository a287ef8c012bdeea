package store

import (
	"testing"
	"time"
)

// machine is one whose clocks a test sets.
type machine struct {
	boot string
	up   time.Duration
}

// start is a daemon that starts, with what a journal told it.
func (m *machine) start(from *Timeline, last int64) *Timeline {
	t := NewTimeline(m.boot, func() time.Duration { return m.up })
	t.resume(from.mark(), last)
	return t
}

// A timeline goes on over restarts and reboots, never faster than real time, and
// knows nothing of the wall clock.
func TestTimeline(t *testing.T) {
	const h = time.Hour
	for _, tells := range []bool{true, false} { // whether the system tells its boots apart
		m := &machine{up: 5 * h}
		if tells {
			m.boot = "one"
		}
		var line *Timeline
		want := func(d time.Duration, when string) {
			t.Helper()
			if line.Now() != d {
				t.Errorf("boots are told apart %v, %s: %v, want %v", tells, when, line.Now(), d)
			}
		}
		line = m.start(nil, 0)
		want(0, "the first start")
		m.up += 2 * h
		want(2*h, "later")
		line = m.start(line, 0)
		want(2*h, "a restart")
		m.up += h
		line = m.start(line, 0)
		want(3*h, "a restart after an hour")
		begun := line
		head := NewTimeline(m.boot, func() time.Duration { return 8 * h })
		head.from = begun.from

		m.up = h // another boot, and the hours before the last record were lived
		if tells {
			m.boot = "two"
		}
		line = m.start(head, int64(7*h/time.Second))
		want(8*h, "a reboot an hour ago")
		m.up += 10 * h
		want(18*h, "ten hours later")
	}
}

// Where boots are not told apart, a machine that is up for longer than the one
// before counts too little, and not too much.
func TestTimelineUnknownBoot(t *testing.T) {
	m := &machine{up: time.Hour}
	line := m.start(nil, 0)
	m.up += time.Minute
	mark := line
	other := &machine{up: 3 * time.Hour} // three hours passed at least
	if line = other.start(frozen(mark, m.up), 0); line.Now() > 3*time.Hour+time.Minute || line.Now() < time.Minute {
		t.Error(line.Now())
	}
}

// frozen is a timeline as it stood at a time.
func frozen(t *Timeline, up time.Duration) *Timeline {
	return &Timeline{boot: t.boot, from: t.from, up: func() time.Duration { return up }}
}

// A head that is damaged leaves what the records say.
func TestTimelineWithoutHead(t *testing.T) {
	line := NewTimeline("b", func() time.Duration { return time.Hour })
	line.resume(moment{}, 7200)
	if line.Now() != 2*time.Hour || line.Lived() != 7200 {
		t.Error(line.Now())
	}
	var none *Timeline
	if none.Now() != 0 || none.mark() != (moment{}) {
		t.Error(none.Now())
	}
}
