package scheduler

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tzdata gives the content of a zone's file of this host.
func tzdata(t *testing.T, name string) []byte {
	t.Helper()
	for _, dir := range sources() {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			return data
		}
	}
	t.Skipf("no file of %s here", name)
	return nil
}

// put writes a file of a private tree of zones.
func put(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// noonIn is what the clocks of a zone show at noon of 1 July 2026 in UTC.
func noonIn(loc *time.Location) string {
	return time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC).In(loc).Format("15:04 MST")
}

// A zone's file that goes, or is spoilt, takes nothing from who has the zone; one
// that says the same is the same zone, one with other rules is another.
func TestZoneFileGoes(t *testing.T) {
	berlin, york := tzdata(t, "Europe/Berlin"), tzdata(t, "America/New_York")
	dir := t.TempDir()
	t.Setenv("ZONEINFO", dir)
	put(t, dir, "Old/Zone", berlin)
	var z Zones
	first, err := z.Load("Old/Zone")
	if err != nil || noonIn(first) != "14:00 CEST" || first.String() != "Old/Zone" {
		t.Fatal(first, err)
	}
	put(t, dir, "Old/Zone", berlin) // written again
	if again, err := z.Of("Old/Zone"); again != first || err != nil {
		t.Errorf("the same file is another zone: %v", err)
	}
	for name, spoil := range map[string]func(path string) error{
		"gone":    os.Remove,
		"empty":   func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"garbage": func(path string) error { return os.WriteFile(path, []byte("TZif2 and no more"), 0o600) },
		"a directory": func(path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700), os.WriteFile(path+"/x", nil, 0o600))
		},
	} {
		put(t, dir, "Old/Zone", berlin)
		if err := spoil(filepath.Join(dir, "Old/Zone")); err != nil {
			t.Fatal(err)
		}
		if _, err := z.Load("Old/Zone"); err == nil || !strings.Contains(err.Error(), "Old/Zone") {
			t.Errorf("%s: it is loaded: %v", name, err)
		}
		if last, err := z.Of("Old/Zone"); last != first || err == nil {
			t.Errorf("%s: %v, %v", name, last, err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "Old")); err != nil {
			t.Fatal(err)
		}
	}
	put(t, dir, "Old/Zone", york)
	if other, err := z.Of("Old/Zone"); err != nil || other == first || noonIn(other) != "08:00 EDT" {
		t.Errorf("other rules: %v, %v", other, err)
	}
	if loc, err := z.Of("Never/Was"); err == nil || loc != nil {
		t.Errorf("a zone that never was: %v", loc)
	}
}

// What tzdata has files of though it names no place is refused, with what to write
// instead.
func TestNoZone(t *testing.T) {
	for name, want := range map[string]string{
		"": "want an IANA name", "Local": "want an IANA name", "localtime": "want an IANA name",
		"posixrules": "no IANA time zone", "Factory": "no IANA time zone",
		"right/UTC": "want UTC", "right/Europe/Berlin": "want Europe/Berlin", "posix/UTC": "want UTC",
		"/etc/localtime": "but a path", "../etc/localtime": "but a path", `Europe\Berlin`: "but a path",
		"Mars/Olympus": "known here", "tzdata.zi": "Time zone", "Europe": "Time zone", "leapseconds": "Time zone",
	} {
		loc, err := new(Zones).Load(name)
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) || loc != nil {
			t.Errorf("%q: %v, %v, want %q", name, loc, err, want)
		}
	}
	if loc, err := new(Zones).Load("UTC"); loc != time.UTC || err != nil {
		t.Errorf("UTC: %v, %v", loc, err)
	}
}

// TZ names the machine's zone as the C library reads it. Package time takes a rule,
// and what it does not know, for UTC without a word.
func TestLocalByVariable(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "my", tzdata(t, "Asia/Tokyo"))
	for tz, want := range map[string]string{
		"": "12:00 UTC", "UTC": "12:00 UTC", "Europe/Berlin": "14:00 CEST", ":Europe/Berlin": "14:00 CEST",
		dir + "/my": "21:00 JST", ":" + dir + "/my": "21:00 JST",
		"CET-1CEST,M3.5.0,M10.5.0/3": "14:00 CEST", "EST5": "07:00 EST", "<+0330>-3:30": "15:30 +0330", "NZST-12NZDT,M9.5.0,M4.1.0/3": "00:00 NZST",
	} {
		t.Setenv("TZ", tz)
		loc, err := new(Zones).Local()
		if err != nil || noonIn(loc) != want {
			t.Errorf("TZ=%s: %s, %v, want %s", tz, noonIn(loc), err, want)
		}
	}
	for _, tz := range []string{"Nonsense/Zone", ":Nonsense/Zone", "nonsense", "/nowhere", dir, "../etc/localtime", "5"} {
		t.Setenv("TZ", tz)
		loc, err := new(Zones).Local()
		if err == nil || loc != time.UTC || !strings.Contains(err.Error(), tz) || !strings.HasSuffix(err.Error(), "times are UTC") {
			t.Errorf("TZ=%s: %v, %v", tz, loc, err)
		}
	}
}

// The machine's zone is looked at anew each time: its file is replaced, goes, and
// comes back.
func TestLocalChanges(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "localtime")
	t.Setenv("TZ", ":"+path)
	var z Zones
	put(t, dir, "localtime", tzdata(t, "Europe/Berlin"))
	berlin, err := z.Local()
	if err != nil || noonIn(berlin) != "14:00 CEST" {
		t.Fatal(noonIn(berlin), err)
	}
	if again, err := z.Local(); again != berlin || err != nil {
		t.Errorf("nothing has changed: %v", err)
	}
	put(t, dir, "localtime", tzdata(t, "America/New_York"))
	york, err := z.Local()
	if err != nil || noonIn(york) != "08:00 EDT" {
		t.Errorf("replaced: %s, %v", noonIn(york), err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if still, err := z.Local(); err == nil || still != york {
		t.Errorf("gone: %v, %v", still, err)
	}
	put(t, dir, "localtime", tzdata(t, "Europe/Berlin"))
	if back, err := z.Local(); err != nil || noonIn(back) != "14:00 CEST" {
		t.Errorf("back: %v", err)
	}
}

// Without TZ it is /etc/localtime, whose link names the zone.
func TestLocalByFile(t *testing.T) {
	t.Setenv("TZ", "") // to be put back after the test
	if err := os.Unsetenv("TZ"); err != nil {
		t.Fatal(err)
	}
	var z Zones
	loc, err := z.Local()
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC).In(time.Local).Format("15:04"); os.Getenv("TZ") == "" && noonIn(loc)[:5] != want {
		t.Errorf("%s: %s, package time says %s", loc, noonIn(loc), want)
	}
	if again, _ := z.Local(); again != loc {
		t.Error("a second look gives another zone")
	}
	target, err := os.Readlink(localtime)
	if _, name, ok := strings.Cut(target, "zoneinfo/"); err == nil && ok && loc.String() != name {
		t.Errorf("named %s, the link says %s", loc, name)
	}
}

// A link that is set anew, one whose zone has gone, and no link at all: the last is
// UTC, but not before the second look, for whoever replaces it may be about to.
func TestLocalLink(t *testing.T) {
	t.Setenv("TZ", "") // to be put back after the test
	if err := os.Unsetenv("TZ"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	z := Zones{file: filepath.Join(dir, "localtime")}
	link := func(name string) {
		t.Helper()
		_ = os.Remove(z.file)
		if err := os.Symlink("zoneinfo/"+name, z.file); err != nil {
			t.Fatal(err)
		}
	}
	look := func(want, name string, fine bool) {
		t.Helper()
		loc, err := z.Local()
		if noonIn(loc) != want || loc.String() != name || (err == nil) != fine {
			t.Errorf("%s (%s), %v, want %s (%s)", noonIn(loc), loc, err, want, name)
		}
	}
	put(t, dir, "zoneinfo/Europe/Berlin", tzdata(t, "Europe/Berlin"))
	put(t, dir, "zoneinfo/Asia/Tokyo", tzdata(t, "Asia/Tokyo"))
	link("Europe/Berlin")
	look("14:00 CEST", "Europe/Berlin", true)
	link("Asia/Tokyo")
	look("21:00 JST", "Asia/Tokyo", true)
	link("No/Where")
	look("21:00 JST", "Asia/Tokyo", false)
	put(t, dir, "zoneinfo/No/Where", []byte("no zone"))
	look("21:00 JST", "Asia/Tokyo", false)
	if err := os.Remove(z.file); err != nil {
		t.Fatal(err)
	}
	look("21:00 JST", "Asia/Tokyo", false)
	look("12:00 UTC", "UTC", true)
	link("Europe/Berlin")
	look("14:00 CEST", "Europe/Berlin", true)
}

// Names are for suggestions.
func TestZoneNames(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("ZONEINFO", dir)
	for _, name := range []string{"Europe/Berlin", "UTC", "right/UTC", "posix/UTC", "posixrules", "zone.tab", "Factory", "tzdata.zi"} {
		put(t, dir, name, nil)
	}
	if got := strings.Join(new(Zones).Names(), " "); got != "Europe/Berlin UTC" {
		t.Errorf("names: %s", got)
	}
}

// A schedule in a zone with other rules counts from then on; what is due already,
// and put off by its offset, still comes.
func TestOtherRules(t *testing.T) {
	berlin, tokyo := zone(t, "Europe/Berlin"), zone(t, "Asia/Tokyo")
	again, err := time.LoadLocationFromTZData("Europe/Berlin", tzdata(t, "Asia/Tokyo"))
	if err != nil {
		t.Fatal(err)
	}
	now := Now{Wall: time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC)}
	for name, to := range map[string]*time.Location{"another zone": tokyo, "another file of the zone": again} {
		var a Agenda
		entry := func(loc *time.Location, offset time.Duration) Entry {
			return Entry{
				Name: "op", Times: []Schedule{parsed(t, "30 2 * * *", loc)}, Offset: offset,
				Last: now.Wall.Add(-time.Hour),
			}
		}
		a.Set(now, []Entry{entry(berlin, 0)})
		a.Due(now)
		a.Set(now, []Entry{entry(to, 0)})
		found := a.Due(now)
		if len(found) != 1 || found[0].Kind != Begun || !found[0].Last.Equal(now.Wall) {
			t.Errorf("%s: %+v", name, found)
		}
		s, _ := a.Of("op", 1)
		if due := time.Date(2026, 6, 1, 17, 30, 0, 0, time.UTC); !s.Next[0].Equal(due) { // 02:30 in Tokyo
			t.Errorf("%s: next %v", name, s.Next)
		}
	}
	var a Agenda
	at := Now{Wall: time.Date(2026, 6, 1, 0, 10, 0, 0, time.UTC)}
	daily := func(loc *time.Location) []Entry {
		return []Entry{{Name: "op", Times: []Schedule{parsed(t, "30 2 * * *", loc)}, Offset: time.Hour, Last: at.Wall}}
	}
	a.Set(at, daily(berlin))
	a.Due(at)
	at = Now{Wall: at.Wall.Add(50 * time.Minute), Mono: 50 * time.Minute} // 00:30 is due, and put off until 01:30
	a.Set(at, daily(again))
	at = Now{Wall: at.Wall.Add(40 * time.Minute), Mono: 90 * time.Minute}
	if found := a.Due(at); len(found) != 1 || found[0].Kind != Run || found[0].Due.Hour() != 2 && found[0].Due.UTC().Minute() != 30 {
		t.Errorf("what was due: %+v", found)
	}
	if s, _ := a.Of("op", 1); s.Next[0].UTC().Format("15:04") != "18:30" {
		t.Errorf("next after it: %v", s.Next)
	}
}
