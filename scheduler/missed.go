package scheduler

import (
	"slices"
	"time"
)

// Bounds of what is caught up and counted.
const (
	defaultMax = 100
	maxCaught  = 1000
	maxMissed  = 100_000 // counting stops here: ten weeks of minutes
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
	late := missed(e.slots, horizon, e.bound())
	skipTo(e.slots, horizon)
	return e.sortAndMerge(e.limitCatchUp(late))
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
		if late := missed([]slot{s}, horizon, 1); late.count > 0 {
			found = append(found, Occurrence{Kind: Run, Due: late.last[0], Missed: late.count - 1, More: late.more})
		}
	}
	late := missed(rest, horizon, e.bound())
	skipTo(e.slots, horizon)
	return e.sortAndMerge(append(found, e.limitCatchUp(late)...))
}

// bound is how many due times are caught up one by one.
func (e *entry) bound() int {
	switch {
	case e.CatchUp != All:
		return 1
	case e.Max <= 0:
		return defaultMax
	}
	return min(e.Max, maxCaught)
}

// limitCatchUp makes occurrences of the latest due times that were missed.
func (e *entry) limitCatchUp(late lateTimes) []Occurrence {
	list := late.last
	if len(list) == 0 {
		return nil
	}
	if e.CatchUp == None {
		return []Occurrence{{Kind: Skipped, Due: list[len(list)-1], Missed: late.count, More: late.more}}
	}
	found := make([]Occurrence, len(list))
	for i, due := range list {
		found[i] = Occurrence{Kind: CaughtUp, Due: due}
	}
	found[0].Missed, found[0].More = late.count-len(list), late.more
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
			found[n-1].More = found[n-1].More || t.More
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

// lateTimes are the due times that were missed: how many, and the latest of them.
type lateTimes struct {
	last  []time.Time
	count int
	more  bool // than count
}

// missed finds the due times up to the horizon: the latest bound of them one by one.
func missed(slots []slot, horizon time.Time, bound int) lateTimes {
	late := walk(slots, horizon, bound, maxMissed)
	if !late.more {
		return late
	}
	// A year of minutes need not be walked: the end of it is enough, and no
	// schedule is due more often than once a minute.
	from := earliest(slots)
	for span := time.Duration(bound) * time.Minute; ; span *= 2 {
		start := later(horizon.Add(-span), from.Add(-time.Second))
		rest := slices.Clone(slots)
		skipTo(rest, start)
		end := walk(rest, horizon, bound, 0)
		if end.count >= bound || start.Before(from) {
			late.last = end.last
			return late
		}
	}
}

// walk counts the due times up to the horizon and keeps the latest bound of them.
// It goes no further than limit, if there is one.
func walk(slots []slot, horizon time.Time, bound, limit int) lateTimes {
	var late lateTimes
	slots = slices.Clone(slots)
	for due := earliest(slots); !due.IsZero() && !due.After(horizon); due = earliest(slots) {
		if limit > 0 && late.count == limit {
			late.more = true
			break
		}
		late.count++
		if late.last = append(late.last, due); len(late.last) >= 2*bound+64 {
			late.last = slices.Delete(late.last, 0, len(late.last)-bound)
		}
		skipTo(slots, due)
	}
	late.last = late.last[max(len(late.last)-bound, 0):]
	return late
}
