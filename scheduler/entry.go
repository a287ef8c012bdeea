package scheduler

import (
	"hash/fnv"
	"slices"
	"time"
)

// CatchUp says what becomes of due times that passed while no daemon ran. Any
// other value is as Latest.
type CatchUp string

// The values of CatchUp.
const (
	None   CatchUp = "none"
	Latest CatchUp = "latest" // one run for all of them
	All    CatchUp = "all"    // the latest Max of them
)

// Values lists the words of catch_up, in the order of messages and of the file's
// schema.
func (CatchUp) Values() []CatchUp { return []CatchUp{None, Latest, All} }

// Entry is one dispatcher with its schedules. Those that are due at the same
// instant give one occurrence.
type Entry struct {
	Name    string
	Times   []Schedule
	Offset  time.Duration // not negative: an occurrence fires that long after it is due
	CatchUp CatchUp
	Max     int       // of All; 0 is 100, and no more than 1,000 are ever caught up
	Last    time.Time // the last due time dealt with, from an earlier Occurrence; zero is never
	Out     time.Time // since when it was not in force, until this Set; zero is not at all
}

// Offset spreads dispatchers and hosts evenly over jitter, in whole seconds:
// the same names give the same offset for ever.
func Offset(jitter time.Duration, host, name string) time.Duration {
	seconds := uint64(max(jitter, 0) / time.Second)
	if seconds == 0 {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(host + "\x00" + name)) // a hash takes all it is given
	return time.Duration(h.Sum64()%seconds) * time.Second
}

// entry is an Entry and how it stands. Its Last only grows, but for a reset.
type entry struct {
	Entry
	slots  []slot
	at     time.Time // when it fires next, zero is never
	missed int
	ran    bool // by @every while the clock was not plausible
}

// slot is one schedule of an entry and its next due time; of @every that is
// its phase, too. Zero is never, or not as long as the clock is not plausible.
type slot struct {
	Schedule
	next time.Time
}

// newEntry is an entry that has not started.
func newEntry(given Entry) *entry {
	e := &entry{Entry: given, slots: make([]slot, len(given.Times))}
	for i, s := range given.Times {
		e.slots[i].Schedule = s
	}
	return e
}

// sameTexts says whether two lists of schedules say the same, and mean it in zones
// of the same names.
func sameTexts(a, b []Schedule) bool {
	return slices.EqualFunc(a, b, func(x, y Schedule) bool { return x.text == y.text && x.zone() == y.zone() })
}

// zone is the name of the schedule's zone.
func (s Schedule) zone() string {
	if s.loc == nil {
		return ""
	}
	return s.loc.String()
}

// update takes over what a reload may change of an entry whose Times say the same.
// Where their zone has other rules than before, it counts from now on by the new
// ones; what is due already, and put off by the Offset, still comes.
func (e *entry) update(given Entry, now time.Time, doubtful bool) []Occurrence {
	given.Last, given.Out = e.Last, e.Out
	was := e.Times
	e.Entry = given
	if slices.EqualFunc(was, given.Times, func(x, y Schedule) bool { return x.loc == y.loc }) {
		return nil
	}
	due := false
	for i := range e.slots {
		s := &e.slots[i]
		s.Schedule = given.Times[i]
		switch {
		case s.every > 0 || s.next.IsZero():
		case s.next.After(now):
			s.next = s.Next(now)
		default:
			due = true
		}
	}
	if due || doubtful {
		return nil
	}
	e.Last = later(e.Last, now)
	return []Occurrence{{Name: e.Name, Kind: Begun, Due: now, Last: e.Last}}
}

// fixed says whether the schedule means times of day rather than an interval.
func (s Schedule) fixed() bool { return s.every == 0 && !s.anyHour }

// after is the slot's first due time after t; @every keeps its phase.
func (s *slot) after(t time.Time) time.Time {
	if s.every == 0 || s.next.IsZero() {
		return s.Next(t)
	}
	beyond := t.Sub(s.next) % s.every
	if beyond < 0 {
		beyond += s.every
	}
	return t.Add(s.every - beyond)
}

// earliest is the next due time of all slots, zero when there is none.
func earliest(slots []slot) time.Time {
	var first time.Time
	for i := range slots {
		if next := slots[i].next; !next.IsZero() && (first.IsZero() || next.Before(first)) {
			first = next
		}
	}
	return first
}

// skipTo moves the slots beyond t.
func skipTo(slots []slot, t time.Time) {
	for i := range slots {
		if s := &slots[i]; !s.next.IsZero() && !s.next.After(t) {
			s.next = s.after(t)
		}
	}
}

// computeNext notes when the entry fires next.
func (e *entry) computeNext() {
	e.at = earliest(e.slots)
	if !e.at.IsZero() {
		e.at = e.at.Add(e.Offset)
	}
}

// before orders the heap.
func (e *entry) before(o *entry) bool {
	if e.at.IsZero() || o.at.IsZero() {
		return !e.at.IsZero() && o.at.IsZero()
	}
	return e.at.Before(o.at)
}

// start begins with what was missed since Last; without one, or with one that
// only a wrong clock can have left, it begins now.
func (e *entry) start(now time.Time) []Occurrence {
	ahead := e.Last.Sub(now) > far
	out := e.Out
	e.Out = time.Time{}
	if ahead || !Plausible(e.Last) {
		kind := Begun
		if ahead {
			kind = Reset
		}
		e.Last = now
		e.place(now)
		return []Occurrence{{Name: e.Name, Kind: kind, Due: now, Last: now}}
	}
	e.place(now)
	if !out.IsZero() {
		return e.comeBack(earlier(out, now), now)
	}
	if at := earliest(e.slots); at.IsZero() || at.Add(e.Offset).After(now) {
		return nil
	}
	return e.caughtUp(now.Add(-e.Offset))
}

// comeBack is start for an entry that was not in force since out: what was due
// before then is caught up, what was due since is not missed.
func (e *entry) comeBack(out, now time.Time) []Occurrence {
	found := []Occurrence{}
	if at, horizon := earliest(e.slots), out.Add(-e.Offset); !at.IsZero() && !at.After(horizon) {
		found = e.caughtUp(horizon)
	}
	skipTo(e.slots, now)
	e.Last = later(e.Last, now)
	if len(found) == 0 {
		return []Occurrence{{Name: e.Name, Kind: Begun, Due: now, Last: e.Last}}
	}
	found[len(found)-1].Last = e.Last
	return found
}

// place finds the due times that follow Last. Where Last lies ahead, because
// the clock went back, times of day are not repeated, and intervals go on.
func (e *entry) place(now time.Time) {
	base := earlier(e.Last, now)
	for i := range e.slots {
		s := &e.slots[i]
		switch {
		case s.every > 0 && e.ran: // it went on meanwhile, and keeps its phase
		case s.every > 0:
			s.next = e.Last.Truncate(time.Second)
			s.next = s.after(base)
		case s.anyHour:
			s.next = s.Next(base)
		default:
			s.next = s.Next(e.Last)
		}
	}
	e.ran = false
}

// suspend leaves only @every running, as long as the clock is not plausible.
func (e *entry) suspend(now time.Time) {
	for i := range e.slots {
		switch s := &e.slots[i]; {
		case s.every == 0:
			s.next = time.Time{}
		case s.next.IsZero():
			s.next = s.Next(now)
		}
	}
}

// shift keeps @every at its interval when the clock was stepped, in whole seconds
// of the new clock. What is overdue several times is due once.
func (e *entry) shift(prev, now Now) {
	for i := range e.slots {
		if s := &e.slots[i]; s.every > 0 && !s.next.IsZero() {
			s.next = acrossStep(s.next, prev, now).Round(time.Second)
			s.next = s.next.Add(max(now.Wall.Sub(s.next), 0).Truncate(s.every))
		}
	}
}

// rewind is for a clock that went back a little: times of day wait until it
// has caught up, intervals do not. An hourly one is due at its first match on
// the new clock that is not sooner than it was due in real time, or at once
// when that is over.
func (e *entry) rewind(prev, now Now) {
	e.shift(prev, now)
	horizon := now.Wall.Add(-e.Offset)
	for i := range e.slots {
		s := &e.slots[i]
		if s.every > 0 || !s.anyHour {
			continue
		}
		s.next = acrossStep(s.next, prev, now)
		if s.next.After(horizon) {
			s.next = s.Next(later(s.next.Add(-near), horizon))
		}
	}
}

// reset is for a clock that went back by hours: it was wrong before, or is
// now. Nothing waits for the old time to come again.
func (e *entry) reset(prev, now Now) []Occurrence {
	ahead := e.Last.After(now.Wall)
	if ahead {
		e.Last = now.Wall
	}
	e.shift(prev, now)
	for i := range e.slots {
		if s := &e.slots[i]; s.every == 0 {
			s.next = s.Next(e.Last) // nothing else was due between Last and now
		}
	}
	if !ahead {
		return nil
	}
	return []Occurrence{{Name: e.Name, Kind: Reset, Due: now.Wall, Last: now.Wall}}
}

// skip passes over what was dealt with before a wrong step back.
func (e *entry) skip(done time.Time) {
	done = done.Add(-e.Offset)
	skipTo(e.slots, done)
	e.Last = later(e.Last, done)
}
