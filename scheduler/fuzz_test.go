package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// FuzzAgenda steps both clocks at random, reloads and restarts, and looks at
// what must hold whatever happens.
func FuzzAgenda(f *testing.F) {
	for _, seed := range []string{
		"", "abcdef", "\x00\x09\x02\x05\x00\x09\x02\x04\x00\xff", "\x05\x01\x00\xff\x06\x00\x00\xff\x06\x01\x00\xff\x07\x09\x00\xff",
		"\x02\x08\x00\xc8\x02\x03\x00\xff\x05\x33\x00\xff\x03\x07\x04\x02", "\x00\xf0\x02\x02\x00\xf0\x02\x03\x00\xf0\x02\x04\x00\xf0\x02\x05\x00\xf0\x02\x09\x00\xf0",
	} {
		f.Add([]byte(seed))
	}
	loc, err := time.LoadLocation("America/New_York")
	if err != nil {
		f.Skip(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w := &world{t: t, loc: loc, last: map[string]time.Time{}, due: map[string]time.Time{}}
		w.now = Now{Wall: time.Date(2026, 10, 31, 22, 58, 30, 0, time.UTC), Mono: time.Hour}
		w.reload(0xff)
		for i := 0; i+1 < min(len(data), 200); i += 2 {
			w.act(data[i], data[i+1])
		}
	})
}

// world is an Agenda between two clocks, and what was seen of it.
type world struct {
	t       *testing.T
	loc     *time.Location
	agenda  Agenda
	now     Now
	entries []Entry
	last    map[string]time.Time // what a daemon keeps
	due     map[string]time.Time // the latest due time that ran
	rewound bool                 // the clock went back since the start: intervals may repeat themselves
}

// pool are entries to take from; variant makes other ones of the same names.
func (w *world) pool(variant bool) []Entry {
	every, zone, policy := "@every 7m", time.UTC, All
	if variant {
		every, zone, policy = "@every 61s", w.loc, None
	}
	return []Entry{
		{Name: "fixed", Times: []Schedule{parsed(w.t, "30 1 * * *", w.loc), parsed(w.t, "*/20 23 * * *", zone)}, CatchUp: policy},
		{Name: "short", Times: []Schedule{parsed(w.t, "*/5 0-3 * * *", zone)}, CatchUp: Latest},
		{Name: "jitter", Times: []Schedule{parsed(w.t, "0 0 * * *", w.loc)}, Offset: 17 * time.Minute, CatchUp: policy, Max: 3},
		{Name: "hourly", Times: []Schedule{parsed(w.t, "hourly", w.loc)}, CatchUp: policy, Max: 2},
		{Name: "minutes", Times: []Schedule{parsed(w.t, "* * * * *", zone)}, CatchUp: Latest},
		{Name: "every", Times: []Schedule{parsed(w.t, every, zone)}, CatchUp: policy},
		{Name: "both", Times: []Schedule{parsed(w.t, "hourly", w.loc), parsed(w.t, "@every 20m", zone)}, Offset: time.Minute, CatchUp: policy},
	}
}

// act does one thing.
func (w *world) act(op, arg byte) {
	spans := []time.Duration{time.Second, 59 * time.Second, 61 * time.Second, 3 * time.Minute, 7 * time.Minute, time.Hour, 179 * time.Minute, 200 * time.Minute, 25 * time.Hour, 8 * 24 * time.Hour, 400 * 24 * time.Hour, 30 * 365 * 24 * time.Hour}
	span := spans[int(arg)%len(spans)]
	switch op % 8 {
	case 0: // time passes as it should
		for range arg {
			w.nap()
		}
		return
	case 1: // the daemon is busy for a little, or stopped
		w.now.Wall, w.now.Mono = w.now.Wall.Add(span), w.now.Mono+span
	case 2: // the clock is set back
		w.now.Wall = w.now.Wall.Add(-span)
	case 3: // forward, or the machine sleeps
		w.now.Wall = w.now.Wall.Add(span)
	case 4: // both
		w.now.Wall, w.now.Mono = w.now.Wall.Add(-span), w.now.Mono+spans[int(arg/16)%len(spans)]
	case 5:
		w.reload(arg)
	case 6:
		w.now.Wall = []time.Time{time.Unix(0, 0), time.Date(2026, 11, 1, 5, 58, 30, 0, time.UTC), time.Date(2149, 12, 30, 5, 58, 30, 0, time.UTC), {}, time.Unix(1<<40, 0)}[int(arg)%5]
	case 7:
		w.agenda, w.rewound = Agenda{}, true // it may have been, before
		w.reload(0xff ^ arg&1)
	}
	w.look(op%8 == 1 && span < replay)
}

// nap sleeps as long as Next says.
func (w *world) nap() {
	nap, any := w.agenda.Next(w.now)
	if !any {
		nap = maxSleep
	}
	if nap <= 0 || nap > maxSleep {
		w.t.Fatalf("nap of %s", nap)
	}
	w.now.Wall, w.now.Mono = w.now.Wall.Add(nap), w.now.Mono+nap
	w.look(true)
}

// reload sets those of the pool that a bit of arg takes; the first bit takes
// the others of the same names. What is new gets the Last that was kept.
func (w *world) reload(arg byte) {
	w.entries = nil
	for i, e := range w.pool(arg&1 == 0) {
		if arg>>(i%8)&1 != 0 || i == 0 {
			e.Last = w.last[e.Name]
			w.entries = append(w.entries, e)
		}
	}
	w.agenda.Set(w.now, w.entries)
	w.look(false)
}

// look asks what is due and judges it. normal: the clocks ran as they should.
func (w *world) look(normal bool) {
	before := w.agenda.now
	if classifyJump(before, w.now) == back || classifyJump(before, w.now) == reset || !Plausible(w.now.Wall) {
		w.rewound = true
	}
	var expect []string
	if normal && Plausible(before.Wall) && Plausible(w.now.Wall) {
		expect = w.expected(before.Wall)
	}
	occurrences := w.agenda.Due(w.now)
	for i, occurrence := range occurrences {
		if begins := occurrence.Kind == Begun || occurrence.Kind == Reset; i > 0 && !begins && occurrence.Due.Before(occurrences[i-1].Due) && occurrences[i-1].Kind != Begun && occurrences[i-1].Kind != Reset {
			w.t.Fatalf("not in order: %v", occurrences)
		}
	}
	var got []string
	for _, occurrence := range occurrences {
		w.judge(occurrence)
		if occurrence.Kind == Run && !slices.ContainsFunc(got, func(s string) bool { return s == id(occurrence.Name, occurrence.Due) }) {
			got = append(got, id(occurrence.Name, occurrence.Due))
		}
	}
	for _, one := range expect {
		if !slices.Contains(got, one) {
			w.t.Fatalf("at %s, after %s: %s is lost; there is %v", w.now.Wall, before.Wall, one, occurrences)
		}
	}
	if again := w.agenda.Due(w.now); len(again) > 0 {
		w.t.Fatalf("due twice at once: %v", again)
	}
}

// id names an occurrence.
func id(name string, due time.Time) string { return fmt.Sprint(name, " ", due.Unix()) }

// expected are the due times between two moments of a clock that runs as it
// should. Times of day never come again; intervals are only looked at as long
// as the clock never went back.
func (w *world) expected(from time.Time) []string {
	var list []string
	for _, e := range w.entries {
		kept := w.last[e.Name]
		for _, s := range e.Times {
			if s.every > 0 || (w.rewound && s.anyHour) || kept.IsZero() {
				continue
			}
			for at := s.Next(from.Add(-e.Offset)); !at.Add(e.Offset).After(w.now.Wall); at = s.Next(at) {
				if at.After(kept) {
					list = append(list, id(e.Name, at))
				}
			}
		}
	}
	return list
}

// judge looks at one occurrence.
func (w *world) judge(occurrence Occurrence) {
	var e Entry
	for _, one := range w.entries {
		if one.Name == occurrence.Name {
			e = one
		}
	}
	fixed := !slices.ContainsFunc(e.Times, func(s Schedule) bool { return !s.fixed() })
	kept, ran := w.last[occurrence.Name], w.due[occurrence.Name]
	if !Plausible(w.now.Wall) && occurrence.Last.IsZero() {
		kept = occurrence.Last // its schedules changed in a time that is not known
	}
	switch occurrence.Kind {
	case Begun, Reset:
		if !occurrence.Last.Equal(w.now.Wall) {
			w.t.Fatalf("begins at another time: %+v", occurrence)
		}
		delete(w.due, occurrence.Name)
		w.last[occurrence.Name] = occurrence.Last
		return
	case Run, CaughtUp:
		if occurrence.Due.Add(e.Offset).After(w.now.Wall) {
			w.t.Fatalf("too soon: %+v at %s", occurrence, w.now.Wall)
		}
		if !occurrence.Due.After(ran) && (fixed || !w.rewound) {
			w.t.Fatalf("%s ran already: %+v", ran, occurrence)
		}
		w.due[occurrence.Name] = occurrence.Due
	case Skipped:
		if occurrence.Missed < 1 {
			w.t.Fatalf("skips nothing: %+v", occurrence)
		}
	}
	if occurrence.Last.Before(kept) || occurrence.Missed < 0 || occurrence.Missed > 2*maxMissed {
		w.t.Fatalf("kept was %s: %+v", kept, occurrence)
	}
	w.last[occurrence.Name] = occurrence.Last
}
