package dispatchers

import (
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

// Times gives the schedules, parsed, as they are meant in a zone: that of Timezone,
// or the machine's. Load found them good.
func (t Timing) Times(loc *time.Location) ([]scheduler.Schedule, error) {
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
	// MaxStale is how much older than MaxAge stale data may be; 0 = any age.
	MaxStale time.Duration
	Format   string // json or text
	MaxSize  int64  // of the data, in bytes
	Mode     int    // of its file, 0 = for whom the socket is
	Group    string // of its file, "" = the socket's
}
