package scheduler

import (
	"fmt"
	"testing"
	"time"
)

// The owner of an Agenda reads the clocks, keeps Last, and naps.
func ExampleAgenda() {
	daily, err := Parse("30 2 * * *", time.UTC)
	if err != nil {
		fmt.Println(err)
		return
	}
	now := Now{Wall: time.Date(2026, 6, 3, 2, 29, 30, 0, time.UTC), Mono: time.Hour}
	kept := now.Wall.AddDate(0, 0, -2) // the daemon was down for two days

	var agenda Agenda
	agenda.Set(now, []Entry{{Name: "backup", Times: []Schedule{daily}, CatchUp: Latest, Last: kept}})
	for range 2 {
		for _, occurrence := range agenda.Due(now) {
			fmt.Println(occurrence.Name, occurrence.Kind, occurrence.Due.Format(time.DateTime), "missed", occurrence.Missed)
			kept = occurrence.Last
		}
		nap, _ := agenda.Next(now)
		fmt.Println("nap", nap)
		now = Now{Wall: now.Wall.Add(nap), Mono: now.Mono + nap}
	}
	fmt.Println("kept", kept.Format(time.DateTime))
	// Output:
	// backup catch_up 2026-06-02 02:30:00 missed 1
	// nap 30s
	// backup run 2026-06-03 02:30:00 missed 0
	// nap 1m0s
	// kept 2026-06-03 02:30:00
}

// TestOffset: the same names give the same offset, others spread over all of
// the jitter.
func TestOffset(t *testing.T) {
	for _, jitter := range []time.Duration{-time.Hour, 0, time.Second - 1, time.Second} {
		if got := Offset(jitter, "h", "d"); got != 0 {
			t.Errorf("of %s: %s", jitter, got)
		}
	}
	var count [10]int
	for i := range 10_000 {
		host, name := fmt.Sprint("host", i%100), fmt.Sprint("dispatcher", i/100)
		got := Offset(10*time.Minute, host, name)
		if got < 0 || got >= 10*time.Minute || got%time.Second != 0 || got != Offset(10*time.Minute, host, name) {
			t.Fatalf("%s %s: %s", host, name, got)
		}
		count[got/time.Minute]++
	}
	for minute, n := range count {
		if n < 850 || n > 1150 {
			t.Errorf("minute %d has %d of 10000", minute, n)
		}
	}
	if Offset(time.Hour, "ab", "c") == Offset(time.Hour, "a", "bc") {
		t.Error("host and name run into each other")
	}
}

// TestStrangeEntries: what has no times is no entry, of one name the first
// counts, and a schedule that never fires waits for ever.
func TestStrangeEntries(t *testing.T) {
	now := Now{Wall: time.Date(2026, 6, 3, 0, 0, 0, 0, time.UTC)}
	hourly, daily := parsed(t, "hourly", time.UTC), parsed(t, "daily", time.UTC)
	var a Agenda
	a.Set(now, []Entry{{Name: "none"}, {Name: "twice", Times: []Schedule{hourly}}, {Name: "twice", Times: []Schedule{daily}}, {Name: "never", Times: make([]Schedule, 2)}})
	if _, ok := a.Of("none", 1); ok {
		t.Error("an entry without times")
	}
	if s, ok := a.Of("twice", 1); !ok || !s.Next[0].Equal(now.Wall.Add(time.Hour)) {
		t.Errorf("the first of two: %+v", s)
	}
	if s, ok := a.Of("never", 5); !ok || len(s.Next) != 0 {
		t.Errorf("never: %+v", s)
	}
	if nap, any := a.Next(now); !any || nap != minSleep {
		t.Errorf("there are occurrences to fetch, but nap %s, %v", nap, any)
	}
	if occurrences := a.Due(now); len(occurrences) != 2 {
		t.Errorf("occurrences: %+v", occurrences)
	}
	a.Set(now, []Entry{{Name: "never", Times: make([]Schedule, 2)}})
	if nap, any := a.Next(now); !any || nap != maxSleep {
		t.Errorf("nothing comes, but nap %s, %v", nap, any)
	}
	if s, _ := a.Of("never", 0); !s.Last.Equal(now.Wall) {
		t.Errorf("a reload without Last takes it away: %s", s.Last)
	}
	a.Set(now, nil)
	if _, any := a.Next(now); any {
		t.Error("a nap without schedules")
	}
}

// TestMuchMissed: of a week of minutes no more than the latest thousand are
// caught up, whatever Max says.
func TestMuchMissed(t *testing.T) {
	now := Now{Wall: time.Date(2026, 6, 8, 0, 0, 0, 0, time.UTC)}
	minutes := parsed(t, "* * * * *", time.UTC)
	var a Agenda
	a.Set(now, []Entry{{Name: "m", Times: []Schedule{minutes}, CatchUp: All, Max: 5000, Last: now.Wall.AddDate(0, 0, -7)}})
	occurrences := a.Due(now)
	if len(occurrences) != maxCaught || !occurrences[maxCaught-1].Due.Equal(now.Wall) || !occurrences[0].Due.Equal(now.Wall.Add(-(maxCaught-1)*time.Minute)) {
		t.Errorf("%d occurrences, from %v to %v", len(occurrences), occurrences[0].Due, occurrences[len(occurrences)-1].Due)
	}
	if missed := occurrences[0].Missed; missed != 7*24*60-maxCaught || occurrences[0].More {
		t.Errorf("missed %d, more %v", missed, occurrences[0].More)
	}
}
