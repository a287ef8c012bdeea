package store_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// Where a schedule stands is known again after a restart, whatever wrote it: a
// job, one that it joined, or neither; and after the journal was written anew.
func TestTicksAreKept(t *testing.T) {
	dir := t.TempDir()
	d, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	j, _, err := d.OpenJournal(jobs.New(store.Retention{}).Replay(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tick := func(due int64, why string) *store.Cursor {
		return &store.Cursor{Due: due, Plan: "daily", At: due + 1, Why: why}
	}
	job := func(name string) store.Record {
		id := ulid.Make()
		return store.Record{Op: store.OpAccept, ID: id, Job: &store.Job{ID: id, Dispatcher: name, State: ipc.Queued}}
	}
	first, joined := job("first"), job("joined")
	first.Cursor = tick(10, "")
	for _, r := range []store.Record{
		first, joined,
		{Op: store.OpJoin, ID: joined.ID, Cursor: tick(20, "")},
		{Op: store.OpCursor, Dispatcher: "refused", Cursor: tick(30, "")},
		{Op: store.OpCursor, Dispatcher: "refused", Cursor: tick(40, "queue_full")},
	} {
		if err := append1(t, j, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(j.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	want := map[string]store.Cursor{"first": *tick(10, ""), "joined": *tick(20, ""), "refused": *tick(40, "queue_full")}
	for range 2 { // the second time from a snapshot
		b, report := reopen(t, dir)
		if report.Damaged {
			t.Errorf("%+v", report)
		}
		if diff := cmp.Diff(want, b.Snapshot().Cursors); diff != "" {
			t.Error(diff)
		}
	}
}
