package store

import (
	"encoding/json"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/ipc"
)

// Job is what is kept of a job. A published one never changes: each change
// makes a new one, so that it may be encoded while the owner goes on.
type Job struct {
	ID         ulid.ULID       `json:"id"`
	Dispatcher string          `json:"d"`
	State      ipc.State       `json:"s"`
	Origin     ipc.Origin      `json:"o"`
	Arguments  json.RawMessage `json:"args,omitempty"`
	Notifiers  []ipc.Notifier  `json:"by,omitempty"`
	CreatedAt  int64           `json:"at"`             // Unix nanoseconds, as all times here
	Seq        uint64          `json:"-"`              // order of acceptance
	Volatile   bool            `json:"-"`              // accepted with durability "memory": never written while it is open
	Cut        Cut             `json:"cut,omitempty"`  // what the history left out of it
	Up         int64           `json:"up,omitempty"`   // time since boot when it was accepted
	Boot       string          `json:"boot,omitempty"` // which boot that was
	NotBefore  int64           `json:"nb,omitempty"`
	Attempt    int32           `json:"n,omitempty"`
	Coalesced  int32           `json:"c,omitempty"`
	Run        *Outcome        `json:"run,omitempty"`
	Tries      []Try           `json:"tries,omitempty"` // attempts that another one followed
}

// Cut says which parts of an ended job the history left out, because they were
// large: one bit each.
type Cut uint8

// The parts that may be left out.
const (
	CutArguments Cut = 1 << iota
	CutResult
)

// words names what was left out, as the wire does.
func (c Cut) words() (list []string) {
	if c&CutArguments != 0 {
		list = append(list, "arguments")
	}
	if c&CutResult != 0 {
		list = append(list, "result")
	}
	return list
}

// Try is an attempt that another one followed.
type Try struct {
	Number    int32         `json:"n"`
	StartedAt int64         `json:"from"`
	EndedAt   int64         `json:"to"`
	ExitCode  *int          `json:"code,omitempty"`
	Signal    string        `json:"sig,omitempty"`
	Error     *ipc.JobError `json:"err,omitempty"`
}

// Outcome is what is known of a job's last attempt.
type Outcome struct {
	StartedAt int64           `json:"from,omitempty"`
	EndedAt   int64           `json:"to,omitempty"`
	ExitCode  *int            `json:"code,omitempty"`
	Signal    string          `json:"sig,omitempty"`
	Error     *ipc.JobError   `json:"err,omitempty"`
	Result    json.RawMessage `json:"res,omitempty"`
	Output    ipc.Output      `json:"out,omitzero"`
	MaxOutput int64           `json:"max,omitempty"` // bound of the log; 0 = it is not known
	Progress  *ipc.Progress   `json:"prog,omitempty"`
	Epoch     string          `json:"ep,omitempty"` // life of the run directory that has the marks, while it runs
}

// View is the job's public form, without waiting_for.
func (j *Job) View() ipc.Job {
	v := ipc.Job{
		ID: j.ID.String(), Dispatcher: j.Dispatcher, State: j.State, Origin: j.Origin, Arguments: j.Arguments,
		Notifiers: j.Notifiers, Attempt: int(j.Attempt), CreatedAt: wall(j.CreatedAt), CoalescedCount: int(j.Coalesced),
	}
	if j.Cut != 0 {
		v.Omitted = j.Cut.words()
	}
	if j.Cut&CutArguments != 0 {
		v.Arguments = nil
	}
	if v.Notifiers == nil {
		v.Notifiers = []ipc.Notifier{}
	}
	for _, t := range j.Tries {
		v.Attempts = append(v.Attempts, ipc.Attempt{
			Number: int(t.Number), StartedAt: wall(t.StartedAt), EndedAt: wall(t.EndedAt),
			ExitCode: t.ExitCode, Signal: t.Signal, Error: t.Error,
		})
	}
	if r := j.Run; r != nil {
		v.StartedAt, v.EndedAt = Wall(r.StartedAt), Wall(r.EndedAt)
		v.ExitCode, v.Signal, v.Error, v.Result = r.ExitCode, r.Signal, r.Error, r.Result
		v.Output, v.Progress = r.Output, r.Progress
	}
	return v
}

func wall(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// Wall is an instant as the wire has it, nil for 0.
func Wall(ns int64) *time.Time {
	if ns == 0 {
		return nil
	}
	return new(wall(ns))
}
