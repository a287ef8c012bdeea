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

// dueOccurrences deals with what is due. doubtful: the wall clock means nothing,
// so Last stays as it is.
func (e *entry) dueOccurrences(now time.Time, how change, doubtful bool) []Occurrence {
	horizon := now.Add(-e.Offset)
	switch {
	case doubtful:
		due := earliest(e.slots)
		skipTo(e.slots, due)
		e.ran = true
		return []Occurrence{{Name: e.Name, Kind: Run, Due: due, Last: e.Last}}
	case how == jumped:
		return e.jumpedOver(horizon)
	case how == away:
		return e.caughtUp(horizon)
	}
	due := earliest(e.slots)
	skipTo(e.slots, due)
	return e.sortAndMerge([]Occurrence{{Kind: Run, Due: due}})
}

// caughtUp deals with all due times up to the horizon as catch_up says.
func (e *entry) caughtUp(horizon time.Time) []Occurrence {
	list, count := missed(e.slots, horizon, e.bound())
	skipTo(e.slots, horizon)
	return e.sortAndMerge(e.limitCatchUp(list, count))
}

// jumpedOver deals with a jump of up to three hours: of each schedule with
// times of day the last one runs, the rest is as catch_up says.
func (e *entry) jumpedOver(horizon time.Time) []Occurrence {
	var found []Occurrence
	var rest []slot
	for _, s := range e.slots {
		if !s.fixed() {
			rest = append(rest, s)
			continue
		}
		if list, count := missed([]slot{s}, horizon, 1); count > 0 {
			found = append(found, Occurrence{Kind: Run, Due: list[0], Missed: count - 1})
		}
	}
	list, count := missed(rest, horizon, e.bound())
	skipTo(e.slots, horizon)
	return e.sortAndMerge(append(found, e.limitCatchUp(list, count)...))
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

// limitCatchUp makes occurrences of the latest due times, of which there were count.
func (e *entry) limitCatchUp(list []time.Time, count int) []Occurrence {
	if len(list) == 0 {
		return nil
	}
	if e.CatchUp == None {
		return []Occurrence{{Kind: Skipped, Due: list[len(list)-1], Missed: count}}
	}
	found := make([]Occurrence, len(list))
	for i, due := range list {
		found[i] = Occurrence{Kind: CaughtUp, Due: due}
	}
	found[0].Missed = count - len(list)
	return found
}

// sortAndMerge finishes occurrences: in order, one for each instant, the first of
// them, and with what is to be kept as Last.
func (e *entry) sortAndMerge(found []Occurrence) []Occurrence {
	slices.SortStableFunc(found, func(x, y Occurrence) int { return x.Due.Compare(y.Due) })
	n := 0
	for _, t := range found {
		if n > 0 && found[n-1].Due.Equal(t.Due) {
			found[n-1].Missed += t.Missed
			if t.Kind == Skipped {
				found[n-1].Missed-- // its own due time runs
			}
		} else {
			found[n] = t
			n++
		}
	}
	for i := range found[:n] {
		t := &found[i]
		e.Last = later(e.Last, t.Due)
		e.missed += t.Missed
		t.Name, t.Last = e.Name, e.Last
	}
	return found[:n]
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
		skipTo(late, start)
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
		skipTo(slots, due)
	}
	return list
}
