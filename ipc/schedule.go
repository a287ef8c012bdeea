package ipc

import "time"

// Schedule is when a dispatcher is due.
type Schedule struct {
	Dispatcher string      `json:"dispatcher"`
	Schedule   []string    `json:"schedule"`
	Timezone   string      `json:"timezone" doc:"IANA name, empty = the machine's"`
	Jitter     string      `json:"jitter" doc:"how long after its due time it starts at this machine"`
	CatchUp    string      `json:"catch_up" enum:"none,latest,all"`
	Overlap    string      `json:"overlap" enum:"queue,skip"`
	Paused     bool        `json:"paused"`
	Last       *time.Time  `json:"last,omitempty" doc:"the due time dealt with last, or since when due times count"`
	Why        string      `json:"why,omitempty" doc:"why that led to no job"`
	Next       []time.Time `json:"next" doc:"when it is run next"`
	Missed     int64       `json:"missed" doc:"due times that passed with nobody there and were left out"`
	Refused    int64       `json:"refused" doc:"due times whose job was refused"`
}

// ScheduleQuery selects schedules.
type ScheduleQuery struct {
	Dispatcher string // "" = all
	Next       int    // how many of the next times
}
