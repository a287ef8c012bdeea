package dispatchers

import (
	"fmt"
	"time"

	"dispatchd/dispatchers/mode"
	"dispatchd/scheduler"
)

// Timing says when a dispatcher is due without a notify.
type Timing struct {
	Schedule []string // as scheduler.Parse takes them; nil = only when it is asked for
	Timezone string   // IANA name, "" = the machine's
	Jitter   time.Duration
	CatchUp  scheduler.CatchUp // runs missed while nothing could run
	Overlap  mode.Overlap      // a due time that finds a run active
	OnStart  bool              // also due when the daemon starts
}

// Times gives the parsed schedules. Load found them good; still the machine's
// time zone files may be gone since.
func (t Timing) Times() ([]scheduler.Schedule, error) {
	loc := time.Local
	if t.Timezone != "" {
		var err error
		if loc, err = time.LoadLocation(t.Timezone); err != nil {
			return nil, fmt.Errorf("timezone: %w", err)
		}
	}
	times := make([]scheduler.Schedule, len(t.Schedule))
	for i, text := range t.Schedule {
		var err error
		if times[i], err = scheduler.Parse(text, loc); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// Cache says that a dispatcher's output is kept as data.
type Cache struct {
	MaxAge  time.Duration // older data is stale, 0 = never
	StaleOK bool          // a reader that does not wait gets stale data rather than none
	Format  string        // json or text
	MaxSize int64         // of the data, in bytes
}
