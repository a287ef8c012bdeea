package scheduler

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"dispatchd/test/box"
)

// daemon drives an Agenda as the daemon does: it naps as long as Next says,
// and asks Due.
type daemon struct {
	agenda Agenda
	now    Now
	wakes  int
	began  time.Time // in a bubble, whose clock it goes by; zero = it moves its own
}

// pass lets time go by until the nap that would end beyond it.
func (d *daemon) pass(span time.Duration, tick func(Now, Occurrence)) {
	end := d.now.Mono + span
	for {
		for _, t := range d.agenda.Due(d.now) {
			tick(d.now, t)
		}
		nap, any := d.agenda.Next(d.now)
		if !any || d.now.Mono+nap > end {
			break
		}
		d.sleep(nap)
		d.wakes++
	}
	d.sleep(end - d.now.Mono)
}

// sleep moves both clocks.
func (d *daemon) sleep(span time.Duration) {
	if !d.began.IsZero() {
		<-time.After(span)
		d.now = Now{Wall: time.Now(), Mono: time.Since(d.began)}
		return
	}
	d.now.Wall, d.now.Mono = d.now.Wall.Add(span), d.now.Mono+span
}

// mixed are n entries with what the oracle says of each, in several zones: one
// schedule, two of them, with and without jitter.
func mixed(t *testing.T, n int, from, to time.Time) ([]Entry, map[string][]int64) {
	t.Helper()
	want := map[string][]int64{}
	var entries []Entry
	table := rules()
	var oracles []*oracle
	for _, name := range []string{"UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo"} {
		o := newOracle(zone(t, name), table)
		o.walk(from, to)
		oracles = append(oracles, o)
	}
	for i := range n {
		o, r := oracles[i%len(oracles)], i/len(oracles)%len(table)
		if i%4 > 0 && table[r].frequent() {
			r = i % 4 // most schedules are daily
		}
		e := Entry{Name: fmt.Sprintf("d%04d", i), Last: from.Add(-time.Second)}
		e.Times = append(e.Times, parsed(t, table[r].spec, o.loc))
		due := o.due[r]
		if i%3 == 0 {
			other := (r + 3) % 4
			e.Times = append(e.Times, parsed(t, table[other].spec, o.loc))
			due = merge(due, o.due[other])
		}
		if i%2 == 0 {
			e.Offset = Offset(10*time.Minute, "host", e.Name)
		}
		if i%7 == 0 {
			e.Times = []Schedule{parsed(t, "@every 7h13m", o.loc)}
			due = nil
			for at := from.Add(-time.Second).Add(433 * time.Minute); at.Before(to); at = at.Add(433 * time.Minute) {
				due = append(due, at.Unix())
			}
		}
		for len(due) > 0 && !time.Unix(due[len(due)-1], 0).Add(e.Offset).Before(to) {
			due = due[:len(due)-1]
		}
		want[e.Name] = due
		entries = append(entries, e)
	}
	return entries, want
}

// parsed is a good schedule.
func parsed(t testing.TB, spec string, loc *time.Location) Schedule {
	t.Helper()
	s, err := Parse(spec, loc)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// merge is both lists in order, each time once.
func merge(a, b []int64) []int64 {
	var both []int64
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || (len(a) > 0 && a[0] < b[0]):
			both, a = append(both, a[0]), a[1:]
		case len(a) > 0 && a[0] == b[0]:
			a = a[1:]
		default:
			both, b = append(both, b[0]), b[1:]
		}
	}
	return both
}

// TestYear runs a thousand schedules through a year as a daemon does: each due
// time fires once, at its time, and nothing wakes it but them and the minutes.
// Without the tag soak it is 300 of them, and the months in which clocks go back.
func TestYear(t *testing.T) {
	t.Parallel()
	synctest.Test(t, year)
}

// year is TestYear in its bubble.
func year(t *testing.T) {
	from, to := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	many := 1000
	if !box.Soak {
		many = 300
		from, to = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	}
	entries, want := mixed(t, many, from, to)
	offsets := map[string]time.Duration{}
	for _, e := range entries {
		offsets[e.Name] = e.Offset
	}
	<-time.After(time.Until(from.Add(-time.Second)))
	d := &daemon{now: Now{Wall: time.Now()}, began: time.Now()}
	d.agenda.Set(d.now, entries)
	count, instants := map[string]int{}, map[int64]bool{}
	d.pass(to.Sub(from), func(now Now, tick Occurrence) {
		n := count[tick.Name]
		count[tick.Name]++
		instants[now.Wall.Unix()] = true
		if tick.Kind != Run || n >= len(want[tick.Name]) || tick.Due.Unix() != want[tick.Name][n] || !tick.Due.Equal(tick.Last) {
			t.Fatalf("%s fired %+v as number %d at %s", tick.Name, tick, n, now.Wall)
		}
		if !now.Wall.Equal(tick.Due.Add(offsets[tick.Name])) {
			t.Fatalf("%s: due %s fired at %s", tick.Name, tick.Due, now.Wall)
		}
	})
	total := 0
	for name, due := range want {
		total += len(due)
		if count[name] != len(due) {
			t.Errorf("%s fired %d times, the oracle says %d", name, count[name], len(due))
		}
	}
	if bound := int(to.Sub(from)/time.Minute) + len(instants); d.wakes > bound {
		t.Errorf("woke %d times, minutes and due instants are %d", d.wakes, bound)
	}
	t.Logf("%d ticks at %d instants, %d wake-ups", total, len(instants), d.wakes)
}

// TestNapsOnly: no schedules, no wake-ups; idle ones, one a minute.
func TestNapsOnly(t *testing.T) {
	d := &daemon{now: Now{Wall: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}}
	fail := func(_ Now, tick Occurrence) { t.Errorf("ticks: %+v", tick) }
	d.pass(time.Hour, fail)
	if d.wakes != 0 {
		t.Errorf("%d wake-ups without schedules", d.wakes)
	}
	var entries []Entry
	for i := range 10_000 {
		entries = append(entries, Entry{Name: fmt.Sprint(i), Times: []Schedule{parsed(t, "0 0 1 1 *", time.UTC)}, Last: d.now.Wall})
	}
	d.agenda.Set(d.now, entries)
	d.pass(time.Hour, fail)
	if d.wakes != 60 {
		t.Errorf("%d wake-ups in an hour with nothing due", d.wakes)
	}
}

// BenchmarkSet reads and sets ten thousand schedules, as a start does.
func BenchmarkSet(b *testing.B) {
	loc, err := time.LoadLocation("America/New_York")
	if err != nil {
		b.Skip(err)
	}
	specs := []string{"hourly", "daily", "30 2 * * *", "*/15 * * * *", "0 0 29 2 *", "weekly", "@every 90m", "0 5 1,15 * mon-fri"}
	now := Now{Wall: time.Date(2026, 11, 1, 5, 10, 0, 0, time.UTC)}
	for b.Loop() {
		entries := make([]Entry, 10_000)
		for i := range entries {
			entries[i] = Entry{Name: fmt.Sprint(i), Times: []Schedule{parsed(b, specs[i%len(specs)], loc)}, Last: now.Wall.Add(-20 * time.Minute)}
		}
		var a Agenda
		a.Set(now, entries)
	}
}

// BenchmarkIdle asks for what is due, and how long to nap, when nothing is.
func BenchmarkIdle(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			now := Now{Wall: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
			entries := make([]Entry, n)
			for i := range entries {
				entries[i] = Entry{Name: fmt.Sprint(i), Times: []Schedule{parsed(b, "0 0 1 1 *", time.UTC)}, Last: now.Wall}
			}
			var a Agenda
			a.Set(now, entries)
			for b.Loop() {
				if len(a.Due(now)) > 0 {
					b.Fatal("something is due")
				}
				if nap, any := a.Next(now); !any || nap != maxSleep {
					b.Fatal(nap)
				}
				now.Wall, now.Mono = now.Wall.Add(time.Millisecond), now.Mono+time.Millisecond
			}
		})
	}
}
