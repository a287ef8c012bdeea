package scheduler

import (
	"time"

	"github.com/robfig/cron/v3"
)

// allHours has the bits of the hours 0 to 23 as robfig/cron keeps them.
const allHours = 1<<24 - 1

// maxPeriods bounds how many clock changes one search may cross; at two to
// four a year it is more than any schedule needs.
const maxPeriods = 128

// Schedule is one parsed schedule. The zero value never fires.
type Schedule struct {
	text    string
	loc     *time.Location
	every   time.Duration      // of @every
	wall    *cron.SpecSchedule // of five fields, always in UTC: the bare wall clock
	anyHour bool               // names no hour
}

// String is the schedule as it was written, with single spaces.
func (s Schedule) String() string { return s.text }

// Next is the first time after t at which the schedule is due, in its zone;
// the zero time when there is none. @every counts from t, in whole seconds.
func (s Schedule) Next(t time.Time) time.Time {
	if s.every > 0 {
		return t.In(s.loc).Truncate(time.Second).Add(s.every)
	}
	if s.wall == nil {
		return time.Time{}
	}
	t = t.In(s.loc)
	start, _ := t.ZoneBounds()
	cursor := wallOf(t, offset(t))
	if !s.anyHour && !start.IsZero() {
		// Within the second pass of a repeated hour everything up to the
		// clock change has run already.
		if done := wallOf(start, offset(start.Add(-1))).Add(-1); cursor.Before(done) {
			cursor = done
		}
	}
	return s.search(cursor, offset(t), changeAfter(t))
}

// search walks from one period of constant offset to the next until the next
// match of the wall clock lies inside one, or in the gap between two.
func (s Schedule) search(cursor time.Time, off int, end time.Time) time.Time {
	for range maxPeriods {
		match := s.nextWall(cursor)
		if match.IsZero() {
			return time.Time{}
		}
		at := match.Add(-time.Duration(off) * time.Second).In(s.loc)
		if end.IsZero() || at.Before(end) {
			return at
		}
		before, after := off, offset(end)
		if after > before && !match.After(wallOf(end, after)) {
			return end.In(s.loc) // it falls into the gap
		}
		if after <= before {
			resume := before
			if s.anyHour {
				resume = after // the repeated hour counts again
			}
			cursor = wallOf(end, resume).Add(-1)
		}
		off, end = after, changeAfter(end)
	}
	return time.Time{}
}

// changeAfter is the next clock change after t, or an instant before it with
// equal offsets around it; the zero time when the clock never changes again.
// Far in the future, in the last days of a leap year, Go 1.26 gives an end of
// the period that is not after t: the search goes on from later days there.
func changeAfter(t time.Time) time.Time {
	probe := t
	for range 7 {
		_, end := probe.ZoneBounds()
		if end.IsZero() || end.After(t) {
			return end
		}
		probe = probe.AddDate(0, 0, 1)
	}
	return probe
}

// nextWall is robfig's Next, which gives up after five years, carried on far
// enough for a Sunday that is the 29th of February: 40 years, across a century
// without that day.
func (s Schedule) nextWall(w time.Time) time.Time {
	for range 9 {
		if next := s.wall.Next(w); !next.IsZero() {
			return next
		}
		w = time.Date(w.Year()+5, 12, 31, 23, 59, 59, 0, time.UTC)
	}
	return time.Time{}
}

// offset is how many seconds t's zone is ahead of UTC at t.
func offset(t time.Time) int {
	_, off := t.Zone()
	return off
}

// wallOf is what a clock at this offset shows at t, kept as if it were UTC.
func wallOf(t time.Time, off int) time.Time {
	return t.UTC().Add(time.Duration(off) * time.Second)
}
