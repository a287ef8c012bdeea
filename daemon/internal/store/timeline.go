package store

import "time"

// Timeline counts the real time that a store has lived through, over restarts
// and reboots. The age of what is kept is counted by it and not by the wall
// clock: that may wake up in 1970, and a wrong answer of a time server sets it
// five years ahead for a second.
//
// It never counts more than has passed. While the machine is off or asleep it
// stands still, so what is kept may be kept longer, and never shorter.
//
// It belongs to OpenJournal's caller until that returns, and never changes then:
// any goroutine may ask it.
type Timeline struct {
	boot string               // which boot this is, "" = the system does not tell
	up   func() time.Duration // time since then, by a clock that nobody sets
	from time.Duration        // what Now was at this boot
}

// NewTimeline makes the timeline of a store of which nothing is known yet.
func NewTimeline(boot string, up func() time.Duration) *Timeline {
	t := &Timeline{boot: boot, up: up}
	t.from = -up()
	return t
}

// Now is the real time that the store has lived through.
func (t *Timeline) Now() time.Duration {
	if t == nil {
		return 0
	}
	return t.from + t.up()
}

// moment is where a timeline stood when a file was begun.
type moment struct {
	Lived int64  `json:"lived,omitempty"` // seconds, as in each record
	Up    int64  `json:"up,omitempty"`    // time since that boot
	Boot  string `json:"boot,omitempty"`
}

// mark is where the timeline stands, for the head of a file.
func (t *Timeline) mark() moment {
	if t == nil {
		return moment{}
	}
	up := t.up()
	return moment{Lived: seconds(t.from + up), Up: int64(up), Boot: t.boot}
}

// resume goes on where a journal left off: its head, and the last of its records.
// Within one boot it is known how long ago that was. Over a reboot it was at least
// as long ago as this boot lasts. Where a system does not tell its boots apart, the
// difference of the two readings is less than what passed in either case.
func (t *Timeline) resume(head moment, last int64) {
	if t == nil || head == (moment{}) && last == 0 {
		return // of an earlier version, which counted nothing
	}
	up, before := t.up(), time.Duration(head.Up)
	lived, recorded := time.Duration(head.Lived)*time.Second, time.Duration(last)*time.Second
	switch {
	case head == (moment{}): // it is damaged
		t.from = recorded - up
	case head.Boot == t.boot && before <= up:
		t.from = max(lived-before, recorded-up)
	default: // the journal is of an earlier boot
		t.from = max(lived, recorded)
	}
}

// seconds cuts a duration to whole seconds.
func seconds(d time.Duration) int64 { return int64(max(0, d) / time.Second) }

// Lived is Now as records have it.
func (t *Timeline) Lived() int64 { return seconds(t.Now()) }
