package ipc

import (
	"encoding/json"
	"slices"
	"time"
)

// State is where a job is in its life. A state never goes back, except running
// to queued by a retry or a rerun, which counts as a new attempt.
type State string

// The states of a job. All but Queued and Running are final.
const (
	Queued      State = "queued"
	Running     State = "running"
	Succeeded   State = "succeeded"
	Failed      State = "failed"      // exit status, or it could not be started
	TimedOut    State = "timed_out"   // ran longer than its timeout
	Canceled    State = "canceled"    // a client asked for it, or its holder went away
	Expired     State = "expired"     // waited longer than queue_timeout
	Interrupted State = "interrupted" // daemon or machine went down, end not known
)

// States lists every state in the order of a job's life.
func States() []State {
	return []State{Queued, Running, Succeeded, Failed, TimedOut, Canceled, Expired, Interrupted}
}

// Final reports whether a job in this state has ended.
func (s State) Final() bool { return s != Queued && s != Running && s != "" }

// Origin says by which door a job came in.
type Origin string

// The origins of a job.
const (
	OriginNotify   Origin = "notify"
	OriginSchedule Origin = "schedule"
	OriginCatchUp  Origin = "catch_up"
	OriginStart    Origin = "start" // run_on_start
	OriginCache    Origin = "cache" // a reader found the cache stale
	OriginChain    Origin = "chain"
)

// Peer is the process at the other end of the socket, as the kernel names it.
type Peer struct {
	UID int `json:"uid" doc:"user id"`
	GID int `json:"gid" doc:"group id"`
	PID int `json:"pid" doc:"process id, 0 where the system does not tell it"`
}

// Notifier is a caller that asked for a job, or joined it.
type Notifier struct {
	Peer
	At time.Time `json:"at" doc:"when they asked"`
}

// Reason is why a queued job does not run yet.
type Reason string

// The reasons to wait.
const (
	WaitTurn     Reason = "turn"          // an earlier job of this dispatcher
	WaitLock     Reason = "lock"          // another job or process holds a lock
	WaitDebounce Reason = "debounce"      // for more quiet
	WaitPaused   Reason = "paused"        // the dispatcher is paused or disabled
	WaitSlot     Reason = "start_slot"    // the daemon's max_running is reached
	WaitBackoff  Reason = "retry_backoff" // the pause before a retry
	WaitDisk     Reason = "disk"          // a disk has too little room to start anything
)

// WaitingFor says what a queued job waits for, and what holds it up.
type WaitingFor struct {
	Reason Reason     `json:"reason" enum:"turn,lock,debounce,paused,start_slot,retry_backoff,disk"`
	Lock   string     `json:"lock,omitempty" doc:"the lock's name; dispatcher:NAME for a dispatcher's own"`
	Job    string     `json:"job,omitempty" doc:"the job that holds the lock or has the turn"`
	PID    int        `json:"pid,omitempty" doc:"the process outside the daemon that holds the lock, where known"`
	Until  *time.Time `json:"until,omitempty" doc:"earliest start, for debounce and retry_backoff"`
	Detail string     `json:"detail,omitempty" doc:"more, for people"`

	EstimateSeconds float64 `json:"estimate_seconds,omitempty" doc:"about how long it still waits, from recent runs; 0 = nobody can tell"`
}

// JobError is why a job did not succeed.
type JobError struct {
	Kind    Kind   `json:"kind" doc:"what went wrong, for programs"`
	Message string `json:"message" doc:"what went wrong, for people"`

	ExitStatus int `json:"exit_status,omitempty" doc:"of a job whose program could not be started: 127 it was not found, 126 it could not be executed"`

	Detail json.RawMessage `json:"detail,omitempty" doc:"what the job itself said of it: the error of its last line on descriptor 3"`
}

// Progress is the last word of a running job about itself.
type Progress struct {
	Percent *float64 `json:"percent,omitempty" doc:"0 to 100"`
	Message string   `json:"message,omitempty"`
}

// Output counts what a job printed.
type Output struct {
	Bytes   int64  `json:"bytes" doc:"bytes printed to standard output and error"`
	Dropped int64  `json:"dropped" doc:"bytes that are not in the log: left out of the middle, beyond max_output, or lost"`
	Lost    int64  `json:"lost,omitempty" doc:"of dropped: bytes that could not be written, for want of disk space for example"`
	Warning string `json:"warning,omitempty" doc:"why bytes were lost, for people"`
	Open    bool   `json:"open,omitempty" doc:"the job has ended, and what it left running can still write to its output"`
}

// Job is one accepted run of a dispatcher. This one shape is used everywhere.
// Times are UTC with nanoseconds.
type Job struct {
	ID             string          `json:"id" doc:"ULID"`
	Dispatcher     string          `json:"dispatcher"`
	State          State           `json:"state" enum:"queued,running,succeeded,failed,timed_out,canceled,expired,interrupted"`
	WaitingFor     *WaitingFor     `json:"waiting_for,omitempty" doc:"why it does not run yet; always there while queued"`
	Arguments      json.RawMessage `json:"arguments,omitempty"`
	Origin         Origin          `json:"origin" enum:"notify,schedule,catch_up,start,cache,chain"`
	Notifiers      []Notifier      `json:"notifiers"`
	Attempt        int             `json:"attempt" doc:"0 before the first start"`
	Attempts       []Attempt       `json:"attempts,omitempty" doc:"those that another one followed, at most the last 16"`
	CreatedAt      time.Time       `json:"created_at"`
	StartedAt      *time.Time      `json:"started_at,omitempty" doc:"start of the last attempt"`
	EndedAt        *time.Time      `json:"ended_at,omitempty"`
	Deadline       *time.Time      `json:"deadline,omitempty" doc:"when its timeout ends, while it runs; a job may extend it, up to timeout_max"`
	ExitCode       *int            `json:"exit_code,omitempty"`
	Signal         string          `json:"signal,omitempty" doc:"the signal that ended it, such as SIGKILL"`
	Error          *JobError       `json:"error,omitempty"`
	Progress       *Progress       `json:"progress,omitempty"`
	Result         json.RawMessage `json:"result,omitempty"`
	Output         Output          `json:"output"`
	CoalescedCount int             `json:"coalesced_count" doc:"notifies that joined after the first"`
	Omitted        []string        `json:"omitted,omitempty" doc:"arguments and result, where the history had no room for them: they were large"`
}

// Attempt is one run of a job that another one followed.
type Attempt struct {
	Number    int       `json:"number"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	ExitCode  *int      `json:"exit_code,omitempty"`
	Signal    string    `json:"signal,omitempty"`
	Error     *JobError `json:"error,omitempty"`
}

// Notified answers a notify: the job, and how the notify came to it.
type Notified struct {
	Job
	Coalesced bool `json:"coalesced" doc:"joined a job that was queued already"`
	Started   bool `json:"started" doc:"it has started meanwhile; state is that of the moment when it was accepted"`
	Position  int  `json:"position" doc:"place in line, 1 is next or running; 0 when it has ended"`
}

// Headers of an answer with a job, for those who do not read the body.
const (
	JobHeader   = "Dispatchd-Job"       // its id
	StateHeader = "Dispatchd-State"     // its state
	ExitHeader  = "Dispatchd-Exit-Code" // of one that has ended: as a shell has it (Job.ExitStatus)
)

// StatusJobFailed is the HTTP status of an answer with a job that has ended without
// success, where ?fail=true asks for one. curl does not try it again, as it would a
// 5xx.
const StatusJobFailed = 424

// NotifyRequest asks for a run of a dispatcher.
type NotifyRequest struct {
	Dispatcher     string
	Arguments      json.RawMessage // nil = none; one JSON value without duplicate names
	IdempotencyKey string          // "" = none; at most 128 bytes
	Origin         Origin          // "" = OriginNotify
	Bound          bool            // of a client: cancel the job if the client is gone when the answer comes
}

// FailedStates are the ends of a job that nobody wished: all but success and a
// cancel.
func FailedStates() []State { return []State{Failed, TimedOut, Expired, Interrupted} }

// Fits reports whether a job in this state passes the filter's State and States.
func (f JobFilter) Fits(s State) bool {
	if slices.Contains(f.States, s) {
		return true
	}
	return f.State == s || f.State == "" && len(f.States) == 0
}

// JobFilter selects jobs for a listing, newest first.
type JobFilter struct {
	Dispatcher string
	State      State
	States     []State   // or in one of these; none and no State = in any
	Since      time.Time // created at or after
	Before     string    // ids smaller than this one only: the next page
	Limit      int       // 0 = 100; at most 1,000
	Fields     []string  // "arguments" and "result", which lists have only if they are asked for
}

// Wants reports whether a field that lists leave out is asked for.
func (f JobFilter) Wants(field string) bool {
	return slices.Contains(f.Fields, field)
}
