package scheduler

import (
	"slices"
	"time"
)

// Bounds of what is caught up and counted.
const (
	defaultMax = 100
	maxMissed  = 1000 // counting missed times stops here, too
)

// take deals with what is due. held: the wall clock means nothing, so Last
// stays as it is.
func (e *entry) take(now time.Time, how change, held bool) []Tick {
	horizon := now.Add(-e.Offset)
	switch {
	case held:
		due := earliest(e.slots)
		pass(e.slots, due)
		e.ran = true
		return []Tick{{Name: e.Name, Kind: Run, Due: due, Last: e.Last}}
	case how == jumped:
		return e.jumpedOver(horizon)
	case how == away:
		return e.caughtUp(horizon)
	}
	due := earliest(e.slots)
	pass(e.slots, due)
	return e.deal([]Tick{{Kind: Run, Due: due}})
}

// caughtUp deals with all due times up to the horizon as catch_up says.
func (e *entry) caughtUp(horizon time.Time) []Tick {
	list, count := missed(e.slots, horizon, e.bound())
	pass(e.slots, horizon)
	return e.deal(e.choose(list, count))
}

// jumpedOver deals with a jump of up to three hours: of each schedule with
// times of day the last one runs, the rest is as catch_up says.
func (e *entry) jumpedOver(horizon time.Time) []Tick {
	var ticks []Tick
	var rest []slot
	for _, s := range e.slots {
		if !s.fixed() {
			rest = append(rest, s)
			continue
		}
		if list, count := missed([]slot{s}, horizon, 1); count > 0 {
			ticks = append(ticks, Tick{Kind: Run, Due: list[0], Missed: count - 1})
		}
	}
	list, count := missed(rest, horizon, e.bound())
	pass(e.slots, horizon)
	return e.deal(append(ticks, e.choose(list, count)...))
}

// bound is how many due times are caught up one by one.
func (e *entry) bound() int {
	switch {
	case e.CatchUp != All:
		return 1
	case e.Max <= 0:
		return defaultMax
	}
	return min(e.Max, maxMissed)
}

// choose makes ticks of the latest due times, of which there were count.
func (e *entry) choose(list []time.Time, count int) []Tick {
	if len(list) == 0 {
		return nil
	}
	if e.CatchUp == None {
		return []Tick{{Kind: Skipped, Due: list[len(list)-1], Missed: count}}
	}
	ticks := make([]Tick, len(list))
	for i, due := range list {
		ticks[i] = Tick{Kind: CaughtUp, Due: due}
	}
	ticks[0].Missed = count - len(list)
	return ticks
}

// deal finishes ticks: in order, one for each instant, the first of them, and
// with what is to be kept as Last.
func (e *entry) deal(ticks []Tick) []Tick {
	slices.SortStableFunc(ticks, func(x, y Tick) int { return x.Due.Compare(y.Due) })
	n := 0
	for _, t := range ticks {
		if n > 0 && ticks[n-1].Due.Equal(t.Due) {
			ticks[n-1].Missed += t.Missed
			if t.Kind == Skipped {
				ticks[n-1].Missed-- // its own due time runs
			}
		} else {
			ticks[n] = t
			n++
		}
	}
	for i := range ticks[:n] {
		t := &ticks[i]
		e.Last = later(e.Last, t.Due)
		e.missed += t.Missed
		t.Name, t.Last = e.Name, e.Last
	}
	return ticks[:n]
}

// missed lists the latest due times up to the horizon, at most bound of them,
// and counts them all, up to maxMissed.
func missed(slots []slot, horizon time.Time, bound int) ([]time.Time, int) {
	list := walk(slots, horizon, maxMissed)
	count := len(list)
	if count < maxMissed {
		return list[max(count-bound, 0):], count
	}
	// A year of minutes need not be walked: the end of it is enough, and no
	// schedule is due more often than once a minute.
	from := earliest(slots)
	for span := time.Duration(bound) * time.Minute; ; span *= 2 {
		start := later(horizon.Add(-span), from.Add(-time.Second))
		late := slices.Clone(slots)
		pass(late, start)
		list = walk(late, horizon, 0)
		if len(list) >= bound || start.Before(from) {
			return list[max(len(list)-bound, 0):], count
		}
	}
}

// walk lists the due times up to the horizon, not more than limit if there is one.
func walk(slots []slot, horizon time.Time, limit int) []time.Time {
	var list []time.Time
	slots = slices.Clone(slots)
	for limit == 0 || len(list) < limit {
		due := earliest(slots)
		if due.IsZero() || due.After(horizon) {
			break
		}
		list = append(list, due)
		pass(slots, due)
	}
	return list
}
