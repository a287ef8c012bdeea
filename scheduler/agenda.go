package scheduler

import (
	"cmp"
	"slices"
	"time"
)

// Now is one reading of both clocks.
type Now struct {
	Wall time.Time
	Mono time.Duration // since boot, standing still while the machine sleeps
}

// Kind says what an Occurrence means.
type Kind string

// The kinds of an Occurrence. The first two ask for a run; the others are only
// to be kept and logged.
const (
	Run      Kind = "run"      // due, on time
	CaughtUp Kind = "catch_up" // due while the daemon did not run, or the machine slept
	Skipped  Kind = "skipped"  // the same, and catch_up is none
	Begun    Kind = "begun"    // new, changed, or back in force: only what is due after Due counts
	Reset    Kind = "reset"    // the clock went back by hours: only what is due after Due counts
)

// Occurrence is one thing to do or to note about a dispatcher.
type Occurrence struct {
	Name   string
	Kind   Kind
	Due    time.Time // the due time, without the entry's Offset
	Missed int       // due times before Due that are left out with it; of Skipped, Due as well
	More   bool      // there were more than Missed: counting has a bound
	Last   time.Time // to be kept as the entry's Last once this one is dealt with
}

// Status is how a dispatcher stands.
type Status struct {
	Last   time.Time   // the last due time dealt with, or where counting began
	Next   []time.Time // the next times at which it fires, its Offset included
	Missed int         // due times left out since it was first Set

	// Suspended: the wall clock cannot be right, and nothing of it is due until it is
	// set. @every goes on.
	Suspended bool
}

// Agenda knows what is due when. The zero value is empty. It is driven from
// outside: after each call of Set, and then each time that Next has passed, Due
// is asked. Use it from one goroutine.
type Agenda struct {
	now           Now
	started       bool              // now is a reading
	set           bool              // Set was called: what comes later was not in force before
	clockDoubtful bool              // the wall clock is not plausible
	left          Now               // the last reading before the clock went back by hours
	entries       map[string]*entry // by name
	queue         []*entry          // a heap, the first to fire on top
	pending       []Occurrence      // found by Set, for the next Due
}

// Set replaces the entries, at the start and at a reload. An entry that is
// there already with the same Times keeps its state, its Last is not read; one
// whose Times are others begins anew, and so does one whose Times are meant in a
// zone with other rules now. What is new catches up from its Last, as far as the
// first Set was not there before it: later on, it was not in force.
func (a *Agenda) Set(now Now, entries []Entry) {
	now.Wall = now.Wall.Round(0)
	first := !a.set
	a.set = true
	a.pending = append(a.pending, a.advance(now)...)
	known := a.entries
	a.entries, a.queue = make(map[string]*entry, len(entries)), make([]*entry, 0, len(entries))
	for _, given := range entries {
		if len(given.Times) == 0 || a.entries[given.Name] != nil {
			continue
		}
		e := known[given.Name]
		switch {
		case e != nil && sameTexts(e.Times, given.Times):
			a.pending = append(a.pending, e.update(given, now.Wall, a.clockDoubtful)...)
		default:
			if e != nil || !first && given.Out.IsZero() {
				given.Last = time.Time{}
			}
			e = newEntry(given)
			a.pending = append(a.pending, a.add(e)...)
		}
		e.computeNext()
		a.entries[e.Name] = e
		a.queue = append(a.queue, e)
	}
	a.heapify()
}

// add starts a new entry, as far as the clock lets it.
func (a *Agenda) add(e *entry) []Occurrence {
	if a.clockDoubtful {
		e.suspend(a.now.Wall)
		return nil
	}
	return e.start(a.now.Wall)
}

// Due is what is due now: first what begins anew, then in the order of due
// times and names. It costs nothing worth naming when nothing is.
func (a *Agenda) Due(now Now) []Occurrence {
	now.Wall = now.Wall.Round(0)
	found := append(a.pending, a.advance(now)...)
	a.pending = nil
	slices.SortStableFunc(found, Occurrence.compare)
	return found
}

// compare orders occurrences: where counting begins anew comes first.
func (t Occurrence) compare(o Occurrence) int {
	rank := func(k Kind) int {
		if k == Begun || k == Reset {
			return 0
		}
		return 1
	}
	return cmp.Or(rank(t.Kind)-rank(o.Kind), t.Due.Compare(o.Due), cmp.Compare(t.Name, o.Name))
}

// Next is how long the owner may sleep before it asks Due again: more than
// nothing, a minute at most, so that a step of the clock is noticed. It is false
// when there is nothing to wait for.
func (a *Agenda) Next(now Now) (time.Duration, bool) {
	if len(a.pending) > 0 {
		return minSleep, true
	}
	if len(a.queue) == 0 {
		return 0, false
	}
	if a.queue[0].at.IsZero() {
		return maxSleep, true
	}
	return min(max(a.queue[0].at.Sub(now.Wall.Round(0)), minSleep), maxSleep), true
}

// Of is how the named dispatcher stands, with its next n firing times.
func (a *Agenda) Of(name string, n int) (Status, bool) {
	e := a.entries[name]
	if e == nil {
		return Status{}, false
	}
	s := Status{Last: e.Last, Missed: e.missed, Suspended: a.clockDoubtful && e.at.IsZero()}
	slots := slices.Clone(e.slots)
	for len(s.Next) < n {
		due := earliest(slots)
		if due.IsZero() {
			break
		}
		s.Next = append(s.Next, due.Add(e.Offset))
		skipTo(slots, due)
	}
	return s, true
}

// advance moves to a new reading of the clocks and finds what became due.
func (a *Agenda) advance(now Now) []Occurrence {
	prev, first, doubtful := a.now, !a.started, a.clockDoubtful
	a.now, a.started, a.clockDoubtful = now, true, !Plausible(now.Wall)
	if first {
		return nil
	}
	change := classifyJump(prev, now)
	switch {
	case a.clockDoubtful && !doubtful:
		a.each(func(e *entry) []Occurrence { e.shift(prev, now); e.suspend(now.Wall); return nil })
	case !a.clockDoubtful && doubtful:
		return append(a.each(func(e *entry) []Occurrence { e.shift(prev, now); return e.start(now.Wall) }), a.fire(steady)...)
	case a.clockDoubtful && change != steady:
		a.each(func(e *entry) []Occurrence { e.shift(prev, now); return nil })
	case change == back:
		a.each(func(e *entry) []Occurrence { e.rewind(prev, now); return nil })
	case change == reset:
		a.left = prev
		return append(a.each(func(e *entry) []Occurrence { return e.reset(prev, now) }), a.fire(steady)...)
	case change != steady && clockRestored(a.left, now):
		done := a.left.Wall
		a.left = Now{}
		a.each(func(e *entry) []Occurrence { e.skip(done); return nil })
	}
	return a.fire(change)
}

// fire takes what is due from the top of the heap.
func (a *Agenda) fire(change change) []Occurrence {
	var found []Occurrence
	for len(a.queue) > 0 {
		e := a.queue[0]
		if e.at.IsZero() || e.at.After(a.now.Wall) {
			break
		}
		found = append(found, e.dueOccurrences(a.now.Wall, change, a.clockDoubtful)...)
		e.computeNext()
		a.siftDown(0)
	}
	return found
}

// each does something with all entries, after which the order is another.
func (a *Agenda) each(do func(*entry) []Occurrence) []Occurrence {
	var found []Occurrence
	for _, e := range a.queue {
		found = append(found, do(e)...)
		e.computeNext()
	}
	a.heapify()
	return found
}

// heapify orders the heap.
func (a *Agenda) heapify() {
	for i := len(a.queue)/2 - 1; i >= 0; i-- {
		a.siftDown(i)
	}
}

// siftDown moves an entry down the heap to where it belongs.
func (a *Agenda) siftDown(i int) {
	q := a.queue
	for {
		child := 2*i + 1
		if child >= len(q) {
			return
		}
		if child+1 < len(q) && q[child+1].before(q[child]) {
			child++
		}
		if !q[child].before(q[i]) {
			return
		}
		q[i], q[child] = q[child], q[i]
		i = child
	}
}
