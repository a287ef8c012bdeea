package scheduler

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// zone loads a zone that the host may lack.
func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Skip(err)
	}
	return loc
}

// The words of catch_up in files and on the wire: they never change.
func TestCatchUpWords(t *testing.T) {
	if got, want := CatchUp("").Values(), []CatchUp{"none", "latest", "all"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for spec, want := range map[string]string{
		"":                                      "empty",
		" \t":                                   "empty",
		"TZ=0":                                  "time zone",
		"CRON_TZ=UTC":                           "time zone",
		"TZ=UTC 0 0 * * *":                      "time zone",
		"0 0 30 2 *":                            "never fires",
		"0 0 31 2,4,6,9,11 *":                   "never fires",
		"@every 0s":                             "shorter than a minute",
		"@every -1h":                            "shorter than a minute",
		"@every 59s":                            "shorter than a minute",
		"@every":                                "or @every 15m",
		"@every x":                              "no duration",
		"@reboot":                               "set run_on_start = true",
		"@every_second":                         "no such word",
		"every 15m":                             "@every 15m",
		"*/70 * * * *":                          "step 70",
		"* */25 * * *":                          "step 25",
		"* * */32 * *":                          "step 32",
		"* * * */13 *":                          "step 13",
		"* * * * */8":                           "step 8",
		"*/0 * * * *":                           "positive",
		"*/-1 * * * *":                          "positive",
		"*/x * * * *":                           "positive",
		"60 * * * *":                            `minute field "60": 60 is out of range, want 0 to 59`,
		"* 24 * * *":                            `hour field "24": 24 is out of range, want 0 to 23`,
		"* * 0 * *":                             `day of month field "0": 0 is out of range, want 1 to 31`,
		"* * 1,x * *":                           `day of month field "1,x": "x" is not a number`,
		"* * * foo *":                           `month field "foo": "foo" is neither a number nor a name such as jan`,
		"* * * 1-13 *":                          `month field "1-13": 13 is out of range, want 1 to 12`,
		"* * * * monday":                        `weekday field "monday": "monday" is neither a number nor a name such as sun`,
		"99999999999999999999 * * * *":          `minute field "99999999999999999999": "99999999999999999999" is not a number`,
		"0x5 * * * *":                           `"0x5" is not a number`,
		"-5 * * * *":                            "missing",
		"0 0 30 2 */2":                          "never fires",
		"* * * * 8":                             `weekday field "8": 8 is out of range, want 0 to 7`,
		"* * * * 7-2":                           "backwards",
		"5-1 * * * *":                           "backwards",
		"*-5 * * * *":                           "not a range",
		"1,,2 * * * *":                          "missing",
		", * * * *":                             "missing",
		"1- * * * *":                            "missing",
		"+1 * * * *":                            "not a number",
		"1/2/3 * * * *":                         "positive",
		"* * * *":                               "found 4",
		"* * * * * *":                           "found 6",
		"Hourly":                                "no such word",
		strings.Repeat("1,", 300) + "1 * * * *": "longer than",
	} {
		if _, err := Parse(spec, time.UTC); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%.40q): %v, want %q", spec, err, want)
		}
	}
}

// next lists the next times of a schedule.
func next(t *testing.T, spec string, loc *time.Location, from string, n int) []string {
	t.Helper()
	s, err := Parse(spec, loc)
	if err != nil {
		t.Fatalf("Parse(%q): %v", spec, err)
	}
	at, err := time.Parse(time.RFC3339, from)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for range n {
		after := s.Next(at)
		if !after.After(at) {
			t.Fatalf("%q: Next(%s) = %s", spec, at, after)
		}
		at = after
		list = append(list, at.Format("2006-01-02T15:04-07"))
	}
	return list
}

func TestNext(t *testing.T) {
	for _, tc := range []struct{ zone, spec, from, want string }{
		{"UTC", "hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00+00 2026-01-01T02:00+00"},
		{"UTC", "daily", "2026-01-01T00:00:01Z", "2026-01-02T00:00+00 2026-01-03T00:00+00"},
		{"UTC", "weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00+00 2026-01-11T00:00+00"},
		{"UTC", "monthly", "2026-01-31T00:00:00Z", "2026-02-01T00:00+00 2026-03-01T00:00+00"},
		{"UTC", "@every  1h30m", "2026-01-01T00:00:00.5Z", "2026-01-01T01:30+00 2026-01-01T03:00+00"},
		{"UTC", " */20  * * * * ", "2026-01-01T00:30:00Z", "2026-01-01T00:40+00 2026-01-01T01:00+00"},
		// Weekday 7 is Sunday, alone, in ranges, with steps and as a name.
		{"UTC", "0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00+00 2026-01-11T00:00+00"},
		{"UTC", "0 0 * * 6-7", "2026-01-01T00:00:00Z", "2026-01-03T00:00+00 2026-01-04T00:00+00 2026-01-10T00:00+00"},
		{"UTC", "0 0 * * fri-sun", "2026-01-01T00:00:00Z", "2026-01-02T00:00+00 2026-01-03T00:00+00 2026-01-04T00:00+00 2026-01-09T00:00+00"},
		{"UTC", "0 0 * * 1-7/3", "2026-01-01T00:00:00Z", "2026-01-04T00:00+00 2026-01-05T00:00+00 2026-01-08T00:00+00"},
		{"UTC", "0 0 * * 0-7", "2026-01-01T00:00:00Z", "2026-01-02T00:00+00 2026-01-03T00:00+00"},
		// The words of crontab(5), with and without the @.
		{"UTC", "@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00+00"},
		{"UTC", "@daily", "2026-01-01T00:00:01Z", "2026-01-02T00:00+00"},
		{"UTC", "@midnight", "2026-01-01T00:00:01Z", "2026-01-02T00:00+00"},
		{"UTC", "midnight", "2026-01-01T00:00:01Z", "2026-01-02T00:00+00"},
		{"UTC", "@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00+00"},
		{"UTC", "@monthly", "2026-01-31T00:00:00Z", "2026-02-01T00:00+00"},
		{"UTC", "@yearly", "2026-01-31T00:00:00Z", "2027-01-01T00:00+00 2028-01-01T00:00+00"},
		{"UTC", "annually", "2026-01-31T00:00:00Z", "2027-01-01T00:00+00"},
		{"UTC", "@every_minute", "2026-01-31T00:00:00Z", "2026-01-31T00:01+00"},
		// The day fields are a union only if neither begins with a star: crontab(5).
		// January 2026 begins on a Thursday.
		{"UTC", "0 16 */2 * SAT", "2026-01-01T00:00:00Z", "2026-01-03T16:00+00 2026-01-17T16:00+00 2026-01-31T16:00+00 2026-02-07T16:00+00"},
		{"UTC", "0 16 */10 * 7", "2026-01-01T00:00:00Z", "2026-01-11T16:00+00 2026-02-01T16:00+00"},
		{"UTC", "0 16 1 * */3", "2026-01-01T17:00:00Z", "2026-02-01T16:00+00 2026-03-01T16:00+00 2026-04-01T16:00+00 2026-07-01T16:00+00"}, // Sunday, Wednesday or Saturday
		{"UTC", "0 16 13 * FRI", "2026-01-01T00:00:00Z", "2026-01-02T16:00+00 2026-01-09T16:00+00 2026-01-13T16:00+00"},
		{"UTC", "0 16 1-31/2 * SAT", "2026-01-01T00:00:00Z", "2026-01-01T16:00+00 2026-01-03T16:00+00 2026-01-05T16:00+00"},
		{"UTC", "0 16 *,5 * SAT", "2026-01-01T00:00:00Z", "2026-01-03T16:00+00 2026-01-10T16:00+00"},
		{"UTC", "0 16 5,* * SAT", "2026-01-01T00:00:00Z", "2026-01-01T16:00+00 2026-01-02T16:00+00"},
		{"UTC", "0 16 5 * 6,*", "2026-01-01T00:00:00Z", "2026-01-01T16:00+00 2026-01-02T16:00+00"},
		{"UTC", "0 16 ?/2 * SAT", "2026-01-01T00:00:00Z", "2026-01-03T16:00+00 2026-01-17T16:00+00"},
		{"UTC", "0 16 ? * SAT", "2026-01-01T00:00:00Z", "2026-01-03T16:00+00 2026-01-10T16:00+00"},
		{"UTC", "0 16 */2 * *", "2026-01-30T00:00:00Z", "2026-01-31T16:00+00 2026-02-01T16:00+00"},
		{"UTC", "0 16 * * */2", "2026-01-01T00:00:00Z", "2026-01-01T16:00+00 2026-01-03T16:00+00 2026-01-04T16:00+00"},
		{"UTC", "0 0 29 2 */7", "2073-01-01T00:00:00Z", "2088-02-29T00:00+00 2128-02-29T00:00+00"},
		// 2100 is no leap year: eight years between two of these.
		{"UTC", "0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00+00 2108-02-29T00:00+00"},

		// The end of leap years beyond 2037, where ZoneBounds stands still.
		{"America/New_York", "0 0 29 2 *", "2040-02-01T00:00:00Z", "2040-02-29T00:00-05 2044-02-29T00:00-05 2048-02-29T00:00-05"},
		{"America/New_York", "30 23 31 12 *", "2040-02-01T00:00:00Z", "2040-12-31T23:30-05 2041-12-31T23:30-05"},

		// New York, spring: 02:30 does not exist on 8 March 2026.
		{"America/New_York", "30 2 * * *", "2026-03-07T12:00:00Z", "2026-03-08T03:00-04 2026-03-09T02:30-04"},
		{"America/New_York", "*/10 2 * * *", "2026-03-08T06:00:00Z", "2026-03-08T03:00-04 2026-03-09T02:00-04"},
		{"America/New_York", "0 3 * * *", "2026-03-07T12:00:00Z", "2026-03-08T03:00-04 2026-03-09T03:00-04"},
		{"America/New_York", "hourly", "2026-03-08T05:30:00Z", "2026-03-08T01:00-05 2026-03-08T03:00-04 2026-03-08T04:00-04"},
		// New York, autumn: 01:30 exists twice on 1 November 2026.
		{"America/New_York", "30 1 * * *", "2026-10-31T12:00:00Z", "2026-11-01T01:30-04 2026-11-02T01:30-05"},
		{"America/New_York", "0 2 * * *", "2026-10-31T12:00:00Z", "2026-11-01T02:00-05 2026-11-02T02:00-05"},
		{"America/New_York", "0 1,2 * * *", "2026-11-01T00:00:00Z", "2026-11-01T01:00-04 2026-11-01T02:00-05"},
		// Asked within the second pass: what ran in the first does not run again.
		{"America/New_York", "30 1 * * *", "2026-11-01T06:10:00Z", "2026-11-02T01:30-05"},
		{"America/New_York", "hourly", "2026-11-01T04:30:00Z", "2026-11-01T01:00-04 2026-11-01T01:00-05 2026-11-01T02:00-05"},
		{"America/New_York", "*/30 * * * *", "2026-11-01T05:15:00Z", "2026-11-01T01:30-04 2026-11-01T01:00-05 2026-11-01T01:30-05 2026-11-01T02:00-05"},
		{"Europe/Berlin", "30 2 * * 0", "2026-03-28T12:00:00Z", "2026-03-29T03:00+02 2026-04-05T02:30+02"},
		{"Europe/Berlin", "30 2 25 10 *", "2026-01-01T12:00:00Z", "2026-10-25T02:30+02 2027-10-25T02:30+02"},
		// Lord Howe moves by half an hour.
		{"Australia/Lord_Howe", "15 2 * * *", "2026-10-03T00:00:00Z", "2026-10-04T02:30+11 2026-10-05T02:15+11"},
		{"Australia/Lord_Howe", "45 1 * * *", "2026-04-04T00:00:00Z", "2026-04-05T01:45+11 2026-04-06T01:45+10"},
		// Midnight itself does not exist: no day, week or year may be lost.
		{"Africa/Cairo", "daily", "2026-04-22T12:00:00Z", "2026-04-23T00:00+02 2026-04-24T01:00+03 2026-04-25T00:00+03"},
		{"America/Sao_Paulo", "weekly", "2018-10-30T12:00:00Z", "2018-11-04T01:00-02 2018-11-11T00:00-02"},
		{"America/Sao_Paulo", "0 0 4 11 *", "2018-01-01T12:00:00Z", "2018-11-04T01:00-02 2019-11-04T00:00-03"},
		// Samoa skipped 30 December 2011 altogether.
		{"Pacific/Apia", "0 12 30 12 *", "2011-01-01T12:00:00Z", "2011-12-31T00:00+14 2012-12-30T12:00+14"},
	} {
		t.Run(tc.zone+" "+tc.spec, func(t *testing.T) {
			want := strings.Fields(tc.want)
			if got := next(t, tc.spec, zone(t, tc.zone), tc.from, len(want)); !slices.Equal(got, want) {
				t.Errorf("after %s:\n got %v\nwant %v", tc.from, got, want)
			}
		})
	}
}

// TestNoDayIsLost walks a daily schedule at every half hour through ten years
// of zones with odd clock changes: each calendar day that has such a moment
// runs exactly once.
func TestNoDayIsLost(t *testing.T) {
	for _, name := range []string{"America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Cairo", "Africa/Casablanca", "Pacific/Apia"} {
		loc := zone(t, name)
		for _, spec := range []string{"0 0 * * *", "30 1 * * *", "15 2 * * *", "30 2 * * *", "30 23 * * *"} {
			s, err := Parse(spec, loc)
			if err != nil {
				t.Fatal(err)
			}
			at, runs := time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC), 0
			end := at.AddDate(10, 0, 0)
			days := map[string]bool{}
			for at = s.Next(at); at.Before(end); at = s.Next(at) {
				runs++
				days[at.Format(time.DateOnly)] = true
			}
			if runs < 3650 || runs > 3653 || len(days) < 3650 {
				t.Errorf("%s %q: %d runs on %d days in ten years", name, spec, runs, len(days))
			}
		}
	}
}

func TestZeroNeverFires(t *testing.T) {
	if at := (Schedule{}).Next(time.Unix(0, 0)); !at.IsZero() {
		t.Errorf("zero schedule fires at %s", at)
	}
	s, err := Parse(" 0  0 * *  7", nil)
	if err != nil || s.String() != "0 0 * * 7" {
		t.Errorf("%q, %v", s, err)
	}
}

func TestEveryIsWholeSeconds(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 600, time.UTC)
	if next := parsed(t, "@every 90.9s", time.UTC).Next(at); !next.Equal(at.Truncate(time.Second).Add(90 * time.Second)) {
		t.Errorf("next is %s", next)
	}
}

// FuzzParse: Parse never panics, and what it takes fires again and again, each
// time later than before.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"TZ=0", "CRON_TZ=UTC", "0 0 29 2 *", "*/70 * * * *", "0 0 * * 5-7/2", "@every 1m", "hourly", "? ? ? ? ?", "0 2 * 3-11/2 sun", "\x00", "59 23 31 12 7,0"} {
		f.Add(seed, int64(1_772_900_000))
	}
	loc, err := time.LoadLocation("America/New_York")
	if err != nil {
		f.Skip(err)
	}
	f.Fuzz(func(t *testing.T, spec string, from int64) {
		s, err := Parse(spec, loc)
		if err != nil {
			return
		}
		at := time.Unix(from%(1<<33), 0)
		for range 20 {
			after := s.Next(at)
			if !after.After(at) {
				t.Fatalf("%q: Next(%s) = %s", spec, at, after)
			}
			at = after
		}
	})
}
