package shim

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/output"
	"dispatchd/daemon/internal/proc"
	"dispatchd/ipc"
)

// An end is read as it was written, and its text is what the release before wrote,
// which made it by encoding/json.
func TestOutcome(t *testing.T) {
	at := time.Date(2026, 11, 30, 20, 31, 0, 123456789, time.FixedZone("here", 3600))
	for _, e := range []proc.Exit{
		{Started: at, Ended: at.Add(time.Second)},
		{Code: 137, Signal: "SIGKILL", Lost: "the system killed it", Started: at, Ended: at},
		{Code: 137, Signal: "SIGKILL", TimedOut: true, Canceled: true, Err: errors.New("a \"b\" <c>"), Started: at, Ended: at},
		{NotStarted: true, Err: errors.New("output file: open: no space left on device")},
		{Result: json.RawMessage(`{"n":1}`), Failure: json.RawMessage(`"why"`), Progress: &ipc.Progress{Percent: new(50.0), Message: "half"}},
		{Started: at, Ended: at, Output: &output.Totals{Bytes: 7}},
		{Started: at, Ended: at, Output: &output.Totals{Bytes: 7, Dropped: 3, Lost: 1, Warning: "full …", Open: true, Data: "full"}},
	} {
		f := proc.AttemptFiles(filepath.Join(t.TempDir(), "job-1"))
		fd, err := reserveOutcome(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := readOutcome(f); ok {
			t.Error("there is an end before it is written")
		}
		if err := writeOutcome(f, fd, e); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(f.Status())
		if err != nil {
			t.Fatal(err)
		}
		o := outcome{
			Code: e.Code, Signal: e.Signal, TimedOut: e.TimedOut, Canceled: e.Canceled, Term: e.Terminated, Why: e.Lost, PutOff: e.NotStarted,
			Result: e.Result, Failure: e.Failure, Started: e.Started.UTC(), Ended: e.Ended.UTC(), Progress: e.Progress, Output: e.Output,
		}
		if e.Err != nil {
			o.Err = e.Err.Error()
		}
		if want, err := json.Marshal(o); err != nil || string(text) != string(want) {
			t.Errorf("%s\nwant %s", text, want)
		}
		got, ok := readOutcome(f)
		if !ok || got.Code != e.Code || got.Signal != e.Signal || !got.Started.Equal(e.Started) || (got.Err == nil) != (e.Err == nil) ||
			got.Terminated != e.Terminated || got.NotStarted != e.NotStarted || proc.IsTransient(got.Err) != e.NotStarted ||
			(got.Output == nil) != (e.Output == nil) || got.Output != nil && *got.Output != *e.Output {
			t.Errorf("%+v, want %+v", got, e)
		}
	}
}

// Where a large result does not fit any more, the end is written without it.
func TestOutcomeWithoutSpace(t *testing.T) {
	f := proc.AttemptFiles(filepath.Join(t.TempDir(), "job-1"))
	fd, err := reserveOutcome(f)
	if err != nil {
		t.Fatal(err)
	}
	lift := limitFiles(t)
	err = writeOutcome(f, fd, proc.Exit{Code: 3, Result: json.RawMessage(`"` + strings.Repeat("x", 3*proc.Room) + `"`)})
	lift()
	got, ok := readOutcome(f)
	if err != nil || !ok || got.Code != 3 || got.Result != nil {
		t.Errorf("%+v, %v, %v", got, ok, err)
	}
}

// Where the file was removed and could not be reserved again, a part of a new one does
// not take the place of the end.
func TestOutcomeNotReservedAgain(t *testing.T) {
	f := proc.AttemptFiles(filepath.Join(t.TempDir(), "job-1"))
	fd, err := reserveOutcome(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(f.NewStatus()); err != nil {
		t.Fatal(err)
	}
	lift := limitFiles(t)
	_, err = reserveOutcome(f)
	lift()
	if err == nil {
		t.Fatal("there is room for it")
	}
	err = writeOutcome(f, fd, proc.Exit{Code: 3})
	if got, ok := readOutcome(f); err != nil || !ok || got.Code != 3 {
		t.Errorf("%+v, %v, %v", got, ok, err)
	}
}

// limitFiles lets this process write less to a file than what is reserved for an end, as
// a full disk does, until lift.
func limitFiles(t *testing.T) (lift func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: proc.Room - 1, Max: old.Max}); err != nil {
		t.Skip(err)
	}
	return func() {
		t.Helper()
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
	}
}
