package scheduler

import (
	"archive/zip"
	"fmt"
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dispatchd/test/box"
)

// rule is a schedule as the oracle understands it, without Parse.
type rule struct {
	spec     string
	interval bool // names no hour
	clock    func(hour, minute int) bool
	day      func(day time.Time) bool
}

// frequent says whether it is due many times a day.
func (r rule) frequent() bool { return r.clock(1, 0) && r.clock(2, 0) }

// at is a rule's time of day.
func at(hour, minute int) func(int, int) bool {
	return func(h, m int) bool { return h == hour && m == minute }
}

// each is a rule's minute of every step minutes.
func each(step int) func(int, int) bool {
	return func(_, m int) bool { return m%step == 0 }
}

func anyDay(time.Time) bool { return true }

// rules are the schedules of the table.
func rules() []rule {
	sunday := func(d time.Time) bool { return d.Weekday() == time.Sunday }
	first := func(d time.Time) bool { return d.Day() == 1 }
	return []rule{
		{"30 0 * * *", false, at(0, 30), anyDay},
		{"30 1 * * *", false, at(1, 30), anyDay},
		{"30 2 * * *", false, at(2, 30), anyDay},
		{"30 3 * * *", false, at(3, 30), anyDay},
		{"hourly", true, each(60), anyDay},
		{"daily", false, at(0, 0), anyDay},
		{"weekly", false, at(0, 0), sunday},
		{"30 2 * * 7", false, at(2, 30), sunday},
		{"monthly", false, at(0, 0), first},
		{"0 0 1 1 *", false, at(0, 0), func(d time.Time) bool { return d.YearDay() == 1 }},
		{"*/15 * * * *", true, each(15), anyDay},
		{"*/15 0-3 * * *", false, func(h, m int) bool { return h < 4 && m%15 == 0 }, anyDay},
	}
}

// yearly is a rule for one day of the year at a time of day.
func yearly(day time.Time, hour, minute int) rule {
	return rule{
		spec:  fmt.Sprintf("%d %d %d %d *", minute, hour, day.Day(), day.Month()),
		clock: at(hour, minute),
		day:   func(d time.Time) bool { return d.Day() == day.Day() && d.Month() == day.Month() },
	}
}

// oracle walks minute by minute through real time and knows only what a clock
// on the wall shows. A time of day is due when the wall shows it for the first
// time, or when it jumped over it; what names no hour, whenever it is shown.
type oracle struct {
	loc   *time.Location
	rules []rule
	clock [1440]uint64   // the rules that match a minute of the day
	days  map[int]uint64 // the rules that match a day
	last  int            // what shown said last
	due   [][]int64      // by rule, in Unix seconds
}

// newOracle prepares the rules.
func newOracle(loc *time.Location, rules []rule) *oracle {
	o := &oracle{loc: loc, rules: rules, days: map[int]uint64{}, last: -1, due: make([][]int64, len(rules))}
	for m := range o.clock {
		for i, r := range rules {
			if r.clock(m/60, m%60) {
				o.clock[m] |= 1 << i
			}
		}
	}
	return o
}

// shown is the minute that the wall shows, counted through the days. The date
// is looked at only where the clock does not simply go on by a minute.
func (o *oracle) shown(unix int64) int {
	local := time.Unix(unix, 0).In(o.loc)
	hour, minute, _ := local.Clock()
	ofDay := hour*60 + minute
	if ofDay != o.last%1440+1 {
		year, month, day := local.Date()
		o.last = int(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix()/86400)*1440 + ofDay
	} else {
		o.last++
	}
	return o.last
}

// matching are the rules that match a minute of the wall.
func (o *oracle) matching(minute int) uint64 {
	bits := o.clock[minute%1440]
	if bits == 0 {
		return 0
	}
	day, known := o.days[minute/1440]
	if !known {
		for i, r := range o.rules {
			if r.day(time.Unix(int64(minute/1440)*86400, 0).UTC()) {
				day |= 1 << i
			}
		}
		o.days[minute/1440] = day
	}
	return bits & day
}

// walk finds all due times in a span.
func (o *oracle) walk(from, to time.Time) {
	var interval uint64
	for i, r := range o.rules {
		if r.interval {
			interval |= 1 << i
		}
	}
	prev := o.shown(from.Unix() - 60)
	highest := prev
	for unix := from.Unix(); unix < to.Unix(); unix += 60 {
		shows := o.shown(unix)
		var bits uint64
		for m := min(prev+1, shows); m <= shows; m++ {
			if m > highest {
				bits |= o.matching(m)
			} else {
				bits |= o.matching(m) & interval
			}
		}
		prev, highest = shows, max(highest, shows)
		for i := 0; bits != 0; i, bits = i+1, bits>>1 {
			if bits&1 != 0 {
				o.due[i] = append(o.due[i], unix)
			}
		}
	}
}

// zoneFiles reads the time zones that come with Go, or else the system's.
func zoneFiles(t *testing.T) fs.FS {
	t.Helper()
	if z, err := zip.OpenReader(filepath.Join(build.Default.GOROOT, "lib/time/zoneinfo.zip")); err == nil {
		t.Cleanup(func() {
			if err := z.Close(); err != nil {
				t.Error(err)
			}
		})
		return z
	}
	return os.DirFS("/usr/share/zoneinfo")
}

// zones are all zones with a clock change between the times. Of those that
// show the same all that time, as other names of a zone do, it takes one.
func zones(t *testing.T, from, to time.Time) []*time.Location {
	t.Helper()
	files, seen, list := zoneFiles(t), map[string]bool{}, []*time.Location(nil)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(name, "right/") || strings.HasPrefix(name, "posix/") {
			return err
		}
		raw, err := fs.ReadFile(files, name)
		if err != nil || !strings.HasPrefix(string(raw), "TZif") { // else it is a table for people
			return err
		}
		loc, err := time.LoadLocationFromTZData(name, raw)
		if err != nil {
			return err
		}
		turns := changes(loc, from, to)
		shown := []int{offset(from.In(loc))}
		for _, turn := range turns {
			shown = append(shown, offset(turn.In(loc)))
		}
		key := fmt.Sprint(turns, shown)
		if len(turns) > 0 && !seen[key] {
			seen[key] = true
			list = append(list, loc)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// changes are a zone's clock changes between two times, found by looking at
// the clock once a day and then by halves.
func changes(loc *time.Location, from, to time.Time) []time.Time {
	var list []time.Time
	for ; from.Before(to); from = from.Add(24 * time.Hour) {
		lo, hi := from, from.Add(24*time.Hour)
		if offset(lo.In(loc)) == offset(hi.In(loc)) {
			continue
		}
		for hi.Sub(lo) > time.Second {
			if mid := lo.Add(hi.Sub(lo) / 2); offset(mid.In(loc)) == offset(lo.In(loc)) {
				lo = mid
			} else {
				hi = mid
			}
		}
		list = append(list, hi.Truncate(time.Second))
	}
	return list
}

// TestEveryZone holds Next against the oracle in all zones whose clocks change.
func TestEveryZone(t *testing.T) {
	t.Parallel()
	from, to := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
	list := zones(t, from, to)
	if len(list) < 20 {
		t.Fatalf("only %d zones change their clocks", len(list))
	}
	for i, loc := range list {
		if !box.Soak && i%10 != 0 {
			continue
		}
		t.Run(loc.String(), func(t *testing.T) {
			t.Parallel()
			checkZone(t, loc, from, to)
		})
	}
}

// checkZone compares each rule's due times, walked one by one and asked for at
// odd moments around the clock changes.
func checkZone(t *testing.T, loc *time.Location, from, to time.Time) {
	table, turns := rules(), changes(loc, from, to)
	for _, turn := range turns[:min(4, len(turns))] {
		day := turn.Add(-time.Minute).In(loc) // where midnight is jumped over, the day before ends then
		table = append(table, yearly(day, 2, 30), yearly(day, 1, 30), yearly(turn.In(loc), 0, 0), yearly(day, 23, 30))
	}
	o := newOracle(loc, table)
	o.walk(from, to)
	for i, r := range table {
		s, err := Parse(r.spec, loc)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for next := s.Next(from.Add(-time.Second)); next.Before(to); next = s.Next(next) {
			got = append(got, next.Unix())
		}
		if n := firstDifference(got, o.due[i]); n >= 0 {
			t.Errorf("%s: differs at number %d of %d: got %s, want %s", r.spec, n, len(o.due[i]), show(got, n, loc), show(o.due[i], n, loc))
			continue
		}
		for _, turn := range turns {
			for ask := turn.Unix() - 5*3600; ask < turn.Unix()+5*3600; ask += 17 * 60 {
				n, found := slices.BinarySearch(o.due[i], ask)
				if found {
					n++
				}
				if n < len(o.due[i]) && s.Next(time.Unix(ask, 0)).Unix() != o.due[i][n] {
					t.Errorf("%s after %s: %s, want %s", r.spec, time.Unix(ask, 0).In(loc), s.Next(time.Unix(ask, 0)), show(o.due[i], n, loc))
				}
			}
		}
	}
}

// firstDifference is where two lists differ, -1 when they do not.
func firstDifference(a, b []int64) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}

// show prints one time of a list.
func show(list []int64, n int, loc *time.Location) string {
	if n >= len(list) {
		return "nothing"
	}
	return time.Unix(list[n], 0).In(loc).Format(time.RFC3339)
}
