package store

// Cursor is where a dispatcher's schedule stands. Each is whole, so that the last
// one says all.
type Cursor struct {
	Due     int64  `json:"due"`            // the due time dealt with last, in Unix nanoseconds as all times here
	Plan    string `json:"plan"`           // the schedule it belongs to: with another it means nothing
	At      int64  `json:"at"`             // when it was dealt with
	Why     string `json:"why,omitempty"`  // the reason when it led to no job
	Refused int64  `json:"ref,omitempty"`  // how many were refused since the schedule is the same
	Missed  int64  `json:"miss,omitempty"` // how many passed with nobody there, and were left out
}
