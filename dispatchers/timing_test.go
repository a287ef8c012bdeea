package dispatchers

import (
	"context"
	"strings"
	"testing"
	"time"
)

// Schedules are meant in the dispatcher's zone, or in the machine's.
func TestTimes(t *testing.T) {
	from := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		timing Timing
		want   []string
	}{
		{Timing{}, nil},
		{Timing{Schedule: []string{"30 2 * * *"}, Timezone: "UTC"}, []string{"2026-07-01T02:30:00Z"}},
		{Timing{Schedule: []string{"30 2 * * *"}, Timezone: "Europe/Berlin"}, []string{"2026-07-01T00:30:00Z"}},
		{Timing{Schedule: []string{"30 2 * * *", "@every 90m"}, Timezone: "America/New_York"}, []string{"2026-07-01T06:30:00Z", "2026-07-01T01:30:00Z"}},
	} {
		loc, err := time.LoadLocation(tc.timing.Timezone)
		if err != nil {
			t.Skip(err)
		}
		times, err := tc.timing.Times(loc)
		if err != nil || len(times) != len(tc.want) {
			t.Errorf("%+v: %d schedules, %v", tc.timing, len(times), err)
			continue
		}
		for i, s := range times {
			if got := s.Next(from).UTC().Format(time.RFC3339); got != tc.want[i] {
				t.Errorf("%+v: %s is due at %s, want %s", tc.timing, tc.timing.Schedule[i], got, tc.want[i])
			}
		}
	}
}

// Load found the schedules good; a Go function's option is not checked before it.
func TestTimesThatAreBad(t *testing.T) {
	timing := Timing{Schedule: []string{"daily", "sometimes"}}
	if times, err := timing.Times(time.UTC); err == nil || times != nil || !strings.HasPrefix(err.Error(), "schedule") {
		t.Errorf("%+v: %v, %v", timing, times, err)
	}
}

// An option of a Go function that sets a schedule or a zone which cannot be read
// disables the dispatcher: it would never be due, and nobody would know.
func TestFunctionTiming(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*Spec)
		want string
	}{
		"good":     {func(s *Spec) { s.Schedule, s.Timezone = []string{"daily"}, "UTC" }, ""},
		"schedule": {func(s *Spec) { s.Schedule = []string{"sometimes"} }, "no such word"},
		"zone":     {func(s *Spec) { s.Schedule, s.Timezone = []string{"daily"}, "Mars/Olympus" }, "time zone"},
	} {
		set := NewSet()
		Register(set, "op", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil }, c.set)
		catalog := Load(Options{Functions: set})
		faults := catalog.Disabled["op"]
		if got := len(faults); got != min(1, len(c.want)) || got > 0 && !strings.Contains(faults[0].Message, c.want) {
			t.Errorf("%s: %v", name, faults)
		}
	}
}
