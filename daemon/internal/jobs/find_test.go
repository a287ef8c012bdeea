package jobs

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// A job is found by its id and by each prefix that no other has, in either case,
// open or ended.
func TestFind(t *testing.T) {
	d := newDesk(t)
	open, ended := ulid.MustParse("01ARZ3NDEKTSV4RRFFQ69G5FAV"), ulid.MustParse("01ARZ3NDEKTSV4RRFFQ69G5FAW")
	for _, id := range []ulid.ULID{open, ended} {
		d.apply(store.Record{Op: store.OpAccept, ID: id, Job: &store.Job{ID: id, Dispatcher: "op", State: ipc.Queued}})
	}
	d.apply(end(ended, ipc.Canceled))
	for _, durable := range []bool{false, true} {
		if durable {
			d.flush()
		}
		for text, want := range map[string]ulid.ULID{
			open.String(): open, ended.String(): ended, strings.ToLower(open.String()): open,
		} {
			if j, err := d.Find(text); err != nil || j.ID() != want {
				t.Errorf("%s: %v", text, err)
			}
		}
		for text, want := range map[string]ipc.Kind{
			"": ipc.KindJobUnknown, "01B": ipc.KindJobUnknown, "01AR": ipc.KindJobAmbiguous, "no id!": ipc.KindJobUnknown,
			open.String()[:25]: ipc.KindJobAmbiguous, open.String() + "X": ipc.KindJobUnknown, "01ARZ3NDEKTSV4RRFFQ69G5FAX": ipc.KindJobUnknown,
		} {
			_, err := d.Find(text)
			if p, ok := errors.AsType[*ipc.Error](err); !ok || p.Kind != want || p.Suggestion != "" {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}

// A prefix that one job has alone leads to it.
func TestFindByUniquePrefix(t *testing.T) {
	d := newDesk(t)
	for _, text := range []string{"01ARZ3NDEKTSV4RRFFQ69G5FAV", "01BRZ3NDEKTSV4RRFFQ69G5FAV"} {
		id := ulid.MustParse(text)
		d.apply(store.Record{Op: store.OpAccept, ID: id, Job: &store.Job{ID: id, Dispatcher: "op", State: ipc.Queued}})
	}
	if j, err := d.Find("01b"); err != nil || j.ID().String()[:3] != "01B" {
		t.Error(err)
	}
}

// A listing since an instant has what was accepted then or later, also when the
// instant is one that no count of nanoseconds can hold.
func TestListSince(t *testing.T) {
	d := newDesk(t)
	at := now()
	d.accepted("op")
	d.apply(end(d.accepted("op").ID(), ipc.Canceled))
	for since, want := range map[time.Time]int{
		{}: 2, at.Add(-time.Second): 2, at: 2, at.Add(time.Nanosecond): 0,
		time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC): 2, time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC): 0,
	} {
		if got := len(d.List(ipc.JobFilter{Since: since})); got != want {
			t.Errorf("since %s: %d jobs, want %d", since, got, want)
		}
	}
}

// A listing has each job once, newest first, as many as were asked for, and goes
// on where the last one ended.
func TestList(t *testing.T) {
	d := newDesk(t)
	var ids []ulid.ULID
	for n := range 250 {
		j := d.accepted([]string{"even", "odd"}[n%2])
		ids = append(ids, j.ID())
		if n%3 == 0 {
			d.apply(end(j.ID(), ipc.Failed))
		}
		if n%6 == 0 { // of the other half the end is not durable
			d.flush()
		}
	}
	for _, f := range []struct {
		ipc.JobFilter
		want int
	}{
		{ipc.JobFilter{}, 100},
		{ipc.JobFilter{Limit: 1000}, 250},
		{ipc.JobFilter{Limit: 5000}, 250},
		{ipc.JobFilter{Limit: 7}, 7},
		{ipc.JobFilter{Limit: 1000, Dispatcher: "odd"}, 125},
		{ipc.JobFilter{Limit: 1000, State: ipc.Failed}, 84},
		{ipc.JobFilter{Limit: 1000, State: ipc.Queued}, 166},
		{ipc.JobFilter{Before: ids[10].String()}, 10},
		{ipc.JobFilter{Before: "no id"}, 100},
	} {
		list := d.List(f.JobFilter)
		for i := range list[1:] {
			if list[i].ID().Compare(list[i+1].ID()) <= 0 {
				t.Fatalf("%+v: %s before %s", f, list[i].ID(), list[i+1].ID())
			}
		}
		if len(list) != f.want {
			t.Errorf("%+v: %d jobs", f, len(list))
		}
	}
}

// A piece of a long list has the newest, whatever their order in memory, and the
// next one goes on behind it.
func TestListPieces(t *testing.T) {
	d := newDesk(t)
	var want []ulid.ULID
	for n := range 500 {
		j := d.accepted("op")
		if n%3 == 0 {
			d.apply(end(j.ID(), ipc.Succeeded))
			d.flush()
		}
		want = append(want, j.ID())
	}
	slices.Reverse(want)
	var got []ulid.ULID
	for before := ""; ; before = got[len(got)-1].String() {
		piece := d.List(ipc.JobFilter{Limit: 7, Before: before})
		for _, j := range piece {
			got = append(got, j.ID())
		}
		if len(piece) < 7 {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d jobs in pieces, want %d", len(got), len(want))
	}
}
