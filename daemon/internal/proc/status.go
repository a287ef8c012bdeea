package proc

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"time"

	"dispatchd/ipc"
)

// outcome is an Exit in .status.
type outcome struct {
	Code     int             `json:"code"`
	Signal   string          `json:"signal,omitempty"`
	TimedOut bool            `json:"timed_out,omitempty"`
	Canceled bool            `json:"canceled,omitempty"`
	Err      string          `json:"error,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Failure  json.RawMessage `json:"failure,omitempty"`
	Started  time.Time       `json:"started"`
	Ended    time.Time       `json:"ended"`
	Progress *ipc.Progress   `json:"progress,omitempty"`
}

// statusRoom is what is reserved for a status before the job starts, so that
// its end can be written when the run directory is full.
const statusRoom = 4096

// reserveOutcome makes the file that will become .status.
func (f AttemptFiles) reserveOutcome() (*os.File, error) {
	file, err := os.OpenFile(f.Status()+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := file.WriteAt([]byte(strings.Repeat(" ", statusRoom)), 0); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// writeOutcome writes the end into the reserved file and puts it in place. A large
// result or failure that does not fit on a full disk is left out: the end is
// worth more.
func (f AttemptFiles) writeOutcome(file *os.File, e Exit) error {
	o := outcome{e.Code, e.Signal, e.TimedOut, e.Canceled, "", e.Result, e.Failure, e.Started, e.Ended, e.Progress}
	if e.Err != nil {
		o.Err = e.Err.Error()
	}
	err := fill(file, o)
	if err != nil && len(o.Result)+len(o.Failure) > 0 {
		o.Result, o.Failure = nil, nil
		err = fill(file, o)
	}
	return errors.Join(err, file.Close(), os.Rename(f.Status()+".new", f.Status()))
}

// fill makes a file hold a value.
func fill(f *os.File, o outcome) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(text, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(text)))
}

// readOutcome reads .status.
func (f AttemptFiles) readOutcome() (Exit, bool) {
	var o outcome
	text, err := os.ReadFile(f.Status())
	if err != nil || json.Unmarshal(text, &o) != nil {
		return Exit{}, false
	}
	e := Exit{
		Code: o.Code, Signal: o.Signal, TimedOut: o.TimedOut, Canceled: o.Canceled,
		Result: o.Result, Failure: o.Failure, Started: o.Started, Ended: o.Ended, Progress: o.Progress,
	}
	if o.Err != "" {
		e.Err = errors.New(o.Err)
	}
	return e, true
}
