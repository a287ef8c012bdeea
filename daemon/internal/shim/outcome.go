package shim

import (
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/output"
	"dispatchd/daemon/internal/proc"
	"dispatchd/ipc"
)

// outcome is a proc.Exit in .status. Its shape outlives versions of the program:
// a daemon reads what a supervisor of another one wrote.
type outcome struct {
	Code     int             `json:"code"`
	Signal   string          `json:"signal,omitempty"`
	TimedOut bool            `json:"timed_out,omitempty"`
	Canceled bool            `json:"canceled,omitempty"`
	Why      string          `json:"why,omitempty"`        // proc.Exit.Lost
	Term     bool            `json:"terminated,omitempty"` // canceled, by a SIGTERM to the supervisor
	Err      string          `json:"error,omitempty"`
	PutOff   bool            `json:"put_off,omitempty"` // nothing was started, for want of what Err says, and the job is not at fault
	Result   json.RawMessage `json:"result,omitempty"`
	Failure  json.RawMessage `json:"failure,omitempty"`
	Started  time.Time       `json:"started"`
	Ended    time.Time       `json:"ended"`
	Progress *ipc.Progress   `json:"progress,omitempty"`
	Output   *output.Totals  `json:"output,omitempty"` // a supervisor of the release before does not count it
}

// reserveOutcome makes the file that will become .status.
func reserveOutcome(f proc.AttemptFiles) (fd int, err error) { return proc.Reserve(f.NewStatus()) }

// takeReserved is reserveOutcome of an attempt whose daemon has reserved the room.
func takeReserved(f proc.AttemptFiles) (fd int, err error) {
	fd, err = unix.Open(f.Prepared(), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return -1, proc.ErrUnmarked
	}
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: f.Prepared(), Err: err}
	}
	return fd, nil
}

// writeOutcome writes the end into the reserved file and puts it in place. A large
// result or failure that does not fit on a full disk is left out: the end is worth
// more. Where the file, or its directory, was removed meanwhile, it is made anew.
func writeOutcome(f proc.AttemptFiles, fd int, e proc.Exit) error {
	if fd >= 0 {
		err := errors.Join(fillOutcome(fd, e), unix.Close(fd))
		if err == nil && os.Rename(f.NewStatus(), f.Status()) == nil {
			return nil
		}
	}
	if err := f.MakeDirectory(); err != nil {
		return err
	}
	fd, err := reserveOutcome(f)
	if err != nil {
		return err
	}
	return errors.Join(fillOutcome(fd, e), unix.Close(fd), os.Rename(f.NewStatus(), f.Status()))
}

// fillOutcome makes a file hold the text of .status.
func fillOutcome(fd int, e proc.Exit) error {
	err := fill(fd, appendOutcome(nil, e))
	if err != nil && len(e.Result)+len(e.Failure) > 0 {
		e.Result, e.Failure = nil, nil
		err = fill(fd, appendOutcome(nil, e))
	}
	return err
}

// fill makes a file hold a text.
func fill(fd int, text []byte) error {
	if err := proc.WriteAt(fd, text); err != nil {
		return err
	}
	return unix.Ftruncate(fd, int64(len(text)))
}

// appendOutcome appends the text of .status.
func appendOutcome(b []byte, e proc.Exit) []byte {
	b = append(b, `{"code":`...)
	b = strconv.AppendInt(b, int64(e.Code), 10)
	if e.Signal != "" {
		b = append(b, `,"signal":`...)
		b = proc.AppendQuoted(b, e.Signal)
	}
	if e.TimedOut {
		b = append(b, `,"timed_out":true`...)
	}
	if e.Canceled {
		b = append(b, `,"canceled":true`...)
	}
	if e.Lost != "" {
		b = append(b, `,"why":`...)
		b = proc.AppendQuoted(b, e.Lost)
	}
	if e.Terminated {
		b = append(b, `,"terminated":true`...)
	}
	if e.Err != nil {
		b = append(b, `,"error":`...)
		b = proc.AppendQuoted(b, e.Err.Error())
	}
	if e.NotStarted {
		b = append(b, `,"put_off":true`...)
	}
	if len(e.Result) > 0 {
		b = append(append(b, `,"result":`...), e.Result...)
	}
	if len(e.Failure) > 0 {
		b = append(append(b, `,"failure":`...), e.Failure...)
	}
	b = appendTime(append(b, `,"started":`...), e.Started)
	b = appendTime(append(b, `,"ended":`...), e.Ended)
	if e.Progress != nil {
		b = appendProgress(append(b, `,"progress":`...), e.Progress)
	}
	if e.Output != nil {
		b = appendTotals(append(b, `,"output":`...), e.Output)
	}
	return append(b, '}')
}

// appendTotals appends what was printed.
func appendTotals(b []byte, t *output.Totals) []byte {
	b = strconv.AppendInt(append(b, `{"bytes":`...), t.Bytes, 10)
	if t.Dropped != 0 {
		b = strconv.AppendInt(append(b, `,"dropped":`...), t.Dropped, 10)
	}
	if t.Lost != 0 {
		b = strconv.AppendInt(append(b, `,"lost":`...), t.Lost, 10)
	}
	if t.Warning != "" {
		b = proc.AppendQuoted(append(b, `,"warning":`...), t.Warning)
	}
	if t.Open {
		b = append(b, `,"open":true`...)
	}
	if t.Data != "" {
		b = proc.AppendQuoted(append(b, `,"data":`...), t.Data)
	}
	return append(b, '}')
}

// appendTime appends a time in UTC: the local zone is a file that would have to be
// read.
func appendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// readOutcome reads .status; false = there is none.
func readOutcome(f proc.AttemptFiles) (proc.Exit, bool) {
	text, err := os.ReadFile(f.Status())
	if err != nil {
		return proc.Exit{}, false
	}
	return parseOutcome(text)
}

// parseOutcome reads the text of .status; false = it is none.
func parseOutcome(text []byte) (proc.Exit, bool) {
	var o outcome
	if json.Unmarshal(text, &o) != nil {
		return proc.Exit{}, false
	}
	e := proc.Exit{
		Code: o.Code, Signal: o.Signal, TimedOut: o.TimedOut, Canceled: o.Canceled, Terminated: o.Term, Lost: o.Why, NotStarted: o.PutOff,
		Result: o.Result, Failure: o.Failure, Started: o.Started, Ended: o.Ended, Progress: o.Progress, Output: o.Output,
	}
	if o.Err != "" {
		e.Err = errors.New(o.Err)
	}
	if o.PutOff {
		e.Err = proc.Own(e.Err)
	}
	return e, true
}
