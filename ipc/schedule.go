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
	Last       *time.Time  `json:"last,omitempty" doc:"the last due time that led to a job, the jitter included; missing until there was one"`
	LastRun    *LastRun    `json:"last_run,omitempty" doc:"the run that began last, whoever asked for it"`
	Why        string      `json:"why,omitempty" doc:"why the due time that was dealt with last led to no job"`
	WhyDue     *time.Time  `json:"why_due,omitempty" doc:"that due time"`
	Fault      string      `json:"fault,omitempty" doc:"why the schedule is not in force"`
	Next       []time.Time `json:"next" doc:"when it is run next"`
	Missed     int64       `json:"missed" doc:"due times that passed with nobody there and were left out"`
	MissedMore bool        `json:"missed_more,omitempty" doc:"there were more: of one absence no more than 100,000 are counted"`
	Refused    int64       `json:"refused" doc:"due times whose job was refused"`
	Skipped    int64       `json:"skipped" doc:"due times left out because a run was active (overlap = skip), or the run of an earlier one had not started"`

	LastSkipped *time.Time `json:"last_skipped,omitempty" doc:"the last of those"`
}

// LastRun is the run of a dispatcher that began last.
type LastRun struct {
	Job       string     `json:"job"`
	State     State      `json:"state"`
	Origin    Origin     `json:"origin"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty" doc:"missing while it runs"`
}

// ScheduleQuery selects schedules.
type ScheduleQuery struct {
	Dispatcher string // "" = all
	Next       int    // how many of the next times
}
