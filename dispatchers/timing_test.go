package dispatchers

import (
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
		times, err := tc.timing.Times()
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

// Load found schedule and zone good. They can be bad again: the machine's zone
// files may be gone, and a Go function's option is not checked.
func TestTimesThatAreBad(t *testing.T) {
	for want, timing := range map[string]Timing{
		"timezone: ": {Schedule: []string{"daily"}, Timezone: "Mars/Olympus"},
		"schedule":   {Schedule: []string{"daily", "sometimes"}},
	} {
		if times, err := timing.Times(); err == nil || times != nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v, %v", timing, times, err)
		}
	}
}
