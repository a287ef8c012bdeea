package store

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"dispatchd/ipc"
)

// A job's public form has all that is kept of it, in the shapes of the wire.
func TestView(t *testing.T) {
	id := ulid.MustParse("01ARZ3NDEKTSV4RRFFQ69G5FAV")
	at := time.Date(2026, 5, 1, 12, 0, 0, 1, time.UTC)
	percent := 50.0
	queued := Job{ID: id, Dispatcher: "op", State: ipc.Queued, Origin: ipc.OriginNotify, CreatedAt: at.UnixNano()}
	want := ipc.Job{ID: id.String(), Dispatcher: "op", State: ipc.Queued, Origin: ipc.OriginNotify, CreatedAt: at, Notifiers: []ipc.Notifier{}}
	if diff := cmp.Diff(want, queued.View()); diff != "" {
		t.Errorf("queued (-want +got):\n%s", diff)
	}
	ended := queued
	ended.State, ended.Arguments, ended.Attempt, ended.Coalesced = ipc.Failed, json.RawMessage(`{"a":1}`), 2, 3
	ended.Notifiers = []ipc.Notifier{{Peer: ipc.Peer{UID: 7}, At: at}}
	ended.Tries = []Try{{Number: 1, StartedAt: at.UnixNano(), EndedAt: at.Add(time.Second).UnixNano(), Signal: "SIGTERM"}}
	ended.Run = &Outcome{
		StartedAt: at.UnixNano(), EndedAt: at.Add(time.Minute).UnixNano(), ExitCode: new(3), Error: &ipc.JobError{Kind: ipc.KindExitStatus},
		Result: json.RawMessage(`{"n":1}`), Output: ipc.Output{Bytes: 9}, Progress: &ipc.Progress{Percent: &percent}, Epoch: "e",
	}
	want = ipc.Job{
		ID: id.String(), Dispatcher: "op", State: ipc.Failed, Origin: ipc.OriginNotify, CreatedAt: at, Arguments: ended.Arguments,
		Attempt: 2, CoalescedCount: 3, Notifiers: ended.Notifiers,
		Attempts:  []ipc.Attempt{{Number: 1, StartedAt: at, EndedAt: at.Add(time.Second), Signal: "SIGTERM"}},
		StartedAt: new(at), EndedAt: new(at.Add(time.Minute)), ExitCode: new(3), Error: ended.Run.Error, Result: ended.Run.Result,
		Output: ended.Run.Output, Progress: ended.Run.Progress,
	}
	if diff := cmp.Diff(want, ended.View()); diff != "" {
		t.Errorf("ended (-want +got):\n%s", diff)
	}
}
