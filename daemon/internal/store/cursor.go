package store

// Cursor is where a dispatcher's schedule stands. Each is whole, so that the last
// one says all. The fields up to Missed are those of version 0c8c869, which reads
// no others: it counts from Due, whatever that is.
type Cursor struct {
	Due     int64  `json:"due"`            // from here due times count: the one dealt with last, or when counting began; in Unix nanoseconds as all times here
	Plan    string `json:"plan"`           // the schedule it belongs to: with another it means nothing
	At      int64  `json:"at"`             // when it was dealt with
	Why     string `json:"why,omitempty"`  // the reason when it led to no job
	Refused int64  `json:"ref,omitempty"`  // how many were refused since the schedule is the same
	Missed  int64  `json:"miss,omitempty"` // how many passed with nobody there, and were left out

	Begun     bool  `json:"begun,omitempty"`  // Due is no due time
	More      bool  `json:"more,omitempty"`   // there were more than Missed
	Ran       int64 `json:"ran,omitempty"`    // when the last due time that led to a job was to fire, its jitter included; 0 = none has
	WhyDue    int64 `json:"whydue,omitempty"` // when the due time of Why was to fire
	Skipped   int64 `json:"skip,omitempty"`   // how many found a run active or waiting, and led to no job
	SkippedAt int64 `json:"skipat,omitempty"` // when the last of them was to fire
	Out       int64 `json:"out,omitempty"`    // since when the schedule is not in force, 0 = it is
}

// LastRan is when the last due time that led to a job was to fire, 0 = none has.
// A version before Ran has left Due for it, and an instant of the clock, never a
// whole second, where counting began. offset is the schedule's.
func (c *Cursor) LastRan(offset int64) int64 {
	const second = 1_000_000_000
	if c.Ran != 0 || c.Begun || c.Why != "" || c.Due%second != 0 {
		return c.Ran
	}
	return c.Due + offset
}
