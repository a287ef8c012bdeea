package schedules

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"dispatchd/dispatchers"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
	"dispatchd/scheduler"
)

// noon is when the decisions of these tests are made; due is what they are about.
func noon() time.Time { return time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) }

// daily is a dispatcher with one schedule.
func daily(overlap mode.Overlap) *dispatchers.Spec {
	return &dispatchers.Spec{Name: "op", Timing: dispatchers.Timing{
		Schedule: []string{"daily", "0 6 * * *"}, Timezone: "UTC", CatchUp: scheduler.Latest, Overlap: overlap,
	}}
}

// cursor is one of the schedule of daily.
func cursor(due time.Time) *Cursor { return &Cursor{Due: due.UnixNano(), Plan: "daily, 0 6 * * * UTC"} }

// occurrence is one that is due at noon.
func occurrence(kind scheduler.Kind) scheduler.Occurrence {
	return scheduler.Occurrence{Name: "op", Kind: kind, Due: noon(), Last: noon()}
}

func TestVerdicts(t *testing.T) {
	unfit := errors.New("package nginx is missing")
	for name, c := range map[string]struct {
		kind    scheduler.Kind
		overlap mode.Overlap
		running int
		unfit   error
		leaving bool
		want    Decision
	}{
		"on time":       {kind: scheduler.Run, want: Decision{Verdict: Submit, Origin: ipc.OriginSchedule}},
		"caught up":     {kind: scheduler.CaughtUp, want: Decision{Verdict: Submit, Origin: ipc.OriginCatchUp}},
		"behind a run":  {kind: scheduler.Run, overlap: mode.OverlapQueue, running: 1, want: Decision{Verdict: Submit, Origin: ipc.OriginSchedule}},
		"nothing runs":  {kind: scheduler.Run, overlap: mode.OverlapSkip, want: Decision{Verdict: Submit, Origin: ipc.OriginSchedule}},
		"overlaps":      {kind: scheduler.Run, overlap: mode.OverlapSkip, running: 1, want: Decision{Verdict: Note, Cursor: Cursor{Why: "a run was active, and overlap is skip"}}},
		"not fit":       {kind: scheduler.CaughtUp, unfit: unfit, want: Decision{Verdict: Refuse, Err: unfit, Cursor: Cursor{Why: unfit.Error(), Refused: 1}}},
		"not fit first": {kind: scheduler.Run, overlap: mode.OverlapSkip, running: 1, unfit: unfit, want: Decision{Verdict: Refuse, Err: unfit, Cursor: Cursor{Why: unfit.Error(), Refused: 1}}},
		"left out":      {kind: scheduler.Skipped, unfit: unfit, want: Decision{Verdict: Note, Cursor: Cursor{Why: "passed while the daemon was down or the machine asleep, and catch_up is none"}}},
		"begins":        {kind: scheduler.Begun, unfit: unfit, running: 1, want: Decision{Verdict: Note}},
		"clock reset":   {kind: scheduler.Reset, want: Decision{Verdict: Note}},
		"daemon leaves": {kind: scheduler.Run, leaving: true, want: Decision{Verdict: Ignore}},
	} {
		t.Run(name, func(t *testing.T) {
			at := Standing{Running: c.running, Leaving: c.leaving, At: noon()}
			if c.want.Verdict != Ignore {
				c.want.Cursor.Due, c.want.Cursor.At, c.want.Cursor.Plan = noon().UnixNano(), noon().UnixNano(), "daily, 0 6 * * * UTC"
			}
			got := Admit(daily(c.overlap), occurrence(c.kind), at, c.unfit)
			if diff := cmp.Diff(c.want, got, cmpopts.EquateErrors()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Counters go on as long as the schedule is the same, and the cursor does not
// move back but for a clock that does.
func TestCursorMoves(t *testing.T) {
	hour := func(h int) time.Time { return noon().Add(time.Duration(h) * time.Hour) }
	counted := cursor(hour(-6))
	counted.Refused, counted.Missed, counted.Why = 3, 5, "of before"
	other := *counted
	other.Plan = "hourly"
	same := cursor(noon())
	for name, c := range map[string]struct {
		from    *Cursor
		kind    scheduler.Kind
		missed  int
		moves   bool
		refused int64
		total   int64
	}{
		"first of all":          {kind: scheduler.Begun, moves: true},
		"on":                    {from: counted, kind: scheduler.Run, moves: true, refused: 3, total: 5},
		"missed some more":      {from: counted, kind: scheduler.CaughtUp, missed: 2, moves: true, refused: 3, total: 7},
		"another schedule":      {from: &other, kind: scheduler.Begun, missed: 1, moves: true, total: 1},
		"once more":             {from: same, kind: scheduler.CaughtUp, moves: true},
		"it stands further":     {from: cursor(hour(1)), kind: scheduler.CaughtUp},
		"clock back by hours":   {from: cursor(hour(9)), kind: scheduler.Reset, moves: true},
		"another, much further": {from: &Cursor{Due: hour(99).UnixNano(), Plan: "hourly"}, kind: scheduler.Run, moves: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := occurrence(c.kind)
			o.Missed = c.missed
			got := Admit(daily(mode.OverlapQueue), o, Standing{Cursor: c.from, At: noon()}, nil)
			if moves := got.Verdict != Ignore; moves != c.moves {
				t.Fatalf("verdict %d", got.Verdict)
			}
			if !c.moves {
				return
			}
			want := Cursor{Due: noon().UnixNano(), At: noon().UnixNano(), Plan: "daily, 0 6 * * * UTC", Refused: c.refused, Missed: c.total}
			if diff := cmp.Diff(want, got.Cursor); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// What the queue refuses after Admit let it through is counted like what Admit
// refuses; the cursor that the journal may still write stays as it is.
func TestRefusedLater(t *testing.T) {
	d := Admit(daily(mode.OverlapQueue), occurrence(scheduler.Run), Standing{Cursor: &Cursor{Plan: "daily, 0 6 * * * UTC", Refused: 1}, At: noon()}, nil)
	got := Refused(d.Cursor, errors.New("max_queue is 1"))
	if got.Refused != 2 || got.Why != "max_queue is 1" || got.Due != d.Cursor.Due {
		t.Errorf("refused: %+v", got)
	}
	if d.Cursor.Refused != 1 || d.Cursor.Why != "" {
		t.Errorf("the decision has changed: %+v", d.Cursor)
	}
}
