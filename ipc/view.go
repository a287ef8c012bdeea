package ipc

import "time"

// DispatcherState says whether a dispatcher takes and runs jobs.
type DispatcherState string

// The states of a dispatcher. A paused one accepts and holds.
const (
	DispatcherReady    DispatcherState = "ready"
	DispatcherPaused   DispatcherState = "paused"
	DispatcherDisabled DispatcherState = "disabled"
)

// Dispatcher is the public view of one dispatcher.
type Dispatcher struct {
	Name          string          `json:"name"`
	Description   string          `json:"description,omitempty"`
	State         DispatcherState `json:"state" enum:"ready,paused,disabled"`
	Reason        string          `json:"reason,omitempty" doc:"why it is disabled"`
	Origin        string          `json:"origin" doc:"the file that defines it, or go"`
	Definition    map[string]any  `json:"definition,omitempty" doc:"every key that is in force"`
	Queued        int             `json:"queued"`
	Running       int             `json:"running"`
	Counters      Counters        `json:"counters"`
	LastJob       string          `json:"last_job,omitempty" doc:"id of the job that ended last"`
	LastState     State           `json:"last_state,omitempty"`
	LastEndedAt   *time.Time      `json:"last_ended_at,omitempty" doc:"when the job that ended last did"`
	LastSuccess   string          `json:"last_success,omitempty" doc:"id of the job that succeeded last"`
	LastSuccessAt *time.Time      `json:"last_success_at,omitempty" doc:"when that was"`
	Problems      []string        `json:"problems,omitempty" doc:"what would make its next run fail: a missing command, user, include or package; told for a single dispatcher only"`
}

// Counters counts since the daemon's start.
type Counters struct {
	Accepted      int64 `json:"accepted"`
	Coalesced     int64 `json:"coalesced"`
	Refused       int64 `json:"refused"`
	Succeeded     int64 `json:"succeeded"`
	Failed        int64 `json:"failed" doc:"failed, timed_out and interrupted"`
	Canceled      int64 `json:"canceled" doc:"canceled and expired"`
	ArgumentsFull int64 `json:"arguments_full" doc:"of those refused: no room for their arguments"`
	KeysFull      int64 `json:"keys_full" doc:"of those refused: too many idempotency keys"`
}

// LockHolder is a job or an outside process that holds a lock.
type LockHolder struct {
	Job        string    `json:"job,omitempty"`
	Dispatcher string    `json:"dispatcher,omitempty"`
	PID        int       `json:"pid,omitempty"`
	Shared     bool      `json:"shared"`
	Since      time.Time `json:"since,omitzero"`
}

// Lock is one named lock with its holders and waiters.
type Lock struct {
	Name    string       `json:"name"`
	Holders []LockHolder `json:"holders"`
	Waiters []string     `json:"waiters" doc:"ids of the jobs that wait for it, in order; the first 1,000"`
	Waiting int          `json:"waiting" doc:"how many jobs wait for it"`
}

// Status is the daemon at a glance.
type Status struct {
	Version     string       `json:"version"`
	PID         int          `json:"pid"`
	StartedAt   time.Time    `json:"started_at"`
	Draining    bool         `json:"draining"`
	DrainedBy   *Notifier    `json:"drained_by,omitempty" doc:"who had it drain, and since when; a drain lasts until undrain"`
	Queued      int          `json:"queued"`
	Running     int          `json:"running"`
	Dispatchers int          `json:"dispatchers"`
	Disabled    []string     `json:"disabled" doc:"dispatchers whose definition is bad"`
	Paused      []string     `json:"paused"`
	Durability  string       `json:"durability" enum:"disk,relaxed,memory"`
	Volatile    bool         `json:"volatile" doc:"the state directory does not outlive a reboot"`
	Journal     string       `json:"journal" doc:"ok, or what is wrong with it"`
	Starts      string       `json:"starts" doc:"ok, or what puts every start off"`
	Warnings    []string     `json:"warnings" doc:"what an admin should know"`
	Root        string       `json:"root,omitempty"`
	Directories Paths        `json:"directories" doc:"where the daemon keeps its files"`
	History     int          `json:"history" doc:"ended jobs that can be asked for"`
	Counters    Counters     `json:"counters"`
	Arguments   Usage        `json:"arguments" doc:"bytes of the arguments of queued and running jobs"`
	Keys        Usage        `json:"keys" doc:"idempotency keys that are kept"`
	OpenOutputs []OpenOutput `json:"open_outputs" doc:"ended jobs of which something that they left running can still print"`
	API         API          `json:"api" doc:"the socket's connections and what its bounds turned away"`
}

// OpenOutput is the output of an ended job to which something that it left running
// can still print. It is read, and bounded, until the last writer has gone.
type OpenOutput struct {
	Job        string     `json:"job"`
	Dispatcher string     `json:"dispatcher"`
	EndedAt    *time.Time `json:"ended_at,omitempty"`
	Output     Output     `json:"output"`
}

// Usage is how much of a bound is taken.
type Usage struct {
	Used int64 `json:"used"`
	Max  int64 `json:"max" doc:"0 = no bound"`
}

// API tells of the socket's connections.
type API struct {
	Connections    int64       `json:"connections" doc:"open now"`
	MaxConnections int64       `json:"max_connections" doc:"with more descriptors in use a request is refused"`
	Reserved       int64       `json:"reserved" doc:"places of these that are kept for root and the daemon's own user, and from requests that wait"`
	Descriptors    int64       `json:"descriptors" doc:"of connections, and of files that answers have open"`
	Waiting        int64       `json:"waiting" doc:"requests that wait for a job, follow output or hold a job"`
	Clients        []APIClient `json:"clients" doc:"the processes with most connections, at most 10"`
	Refused        APIRefusals `json:"refused"`
}

// APIClient is a process that has connections.
type APIClient struct {
	Peer
	Process     string `json:"process,omitempty" doc:"its program's name, where the system tells it"`
	Connections int64  `json:"connections"`
	Waiting     int64  `json:"waiting" doc:"of its requests, those that wait"`
}

// APIRefusals counts since the daemon's start what was turned away before it
// reached a route.
type APIRefusals struct {
	Connections int64 `json:"connections" doc:"too many were open"`
	Headers     int64 `json:"headers" doc:"the header was too large"`
	Bodies      int64 `json:"bodies" doc:"the body was too large"`
	Foreign     int64 `json:"foreign" doc:"foreign host or origin"`
	Malformed   int64 `json:"malformed" doc:"not HTTP as it should be"`
	Slow        int64 `json:"slow" doc:"sent too slowly, or did not read the answer"`
}

// Upgrade says what an upgrade in place is about to do. It is done when the
// daemon's started_at is another.
type Upgrade struct {
	From      string    `json:"from" doc:"the version that runs"`
	To        string    `json:"to" doc:"the version that will run"`
	StartedAt time.Time `json:"started_at" doc:"when the one that runs started"`
}

// Health is the answer of a daemon that works.
type Health struct {
	Status string `json:"status" enum:"ok,degraded"`
	Detail string `json:"detail,omitempty"`
}

// Reload says what a reload changed, or what one would change.
type Reload struct {
	Added    []string `json:"added"`
	Changed  []string `json:"changed"`
	Removed  []string `json:"removed"`
	Faults   []string `json:"faults" doc:"each fault with file, row and column; these files changed nothing"`
	Disabled []string `json:"disabled"`
	Warnings []string `json:"warnings" doc:"what would make jobs of good definitions fail on this host as it is now: a command, user, group or directory that is not there"`
	Unread   []string `json:"unread" doc:"files that are not read, though they may be meant as definitions, with what is wrong with their names"`
	Restart  []string `json:"restart" doc:"keys of dispatchd.toml that have another value, which counts from the next start or upgrade on"`
}
