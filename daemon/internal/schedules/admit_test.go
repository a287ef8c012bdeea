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
	const offset = 90 * time.Second
	fires := noon().Add(offset).UnixNano()
	const waits = "the run of an earlier due time has not started yet, and serves this one too"
	for name, c := range map[string]struct {
		kind    scheduler.Kind
		overlap mode.Overlap
		running int
		pending bool
		policy  scheduler.CatchUp
		unfit   error
		leaving bool
		want    Decision
	}{
		"on time":       {kind: scheduler.Run, want: Decision{Verdict: Submit, Origin: ipc.OriginSchedule}},
		"caught up":     {kind: scheduler.CaughtUp, want: Decision{Verdict: Submit, Origin: ipc.OriginCatchUp}},
		"behind a run":  {kind: scheduler.Run, overlap: mode.OverlapQueue, running: 1, want: Decision{Verdict: Submit, Origin: ipc.OriginSchedule}},
		"nothing runs":  {kind: scheduler.Run, overlap: mode.OverlapSkip, want: Decision{Verdict: Submit, Origin: ipc.OriginSchedule}},
		"overlaps":      {kind: scheduler.Run, overlap: mode.OverlapSkip, running: 1, want: Decision{Verdict: Note, Cursor: Cursor{Why: "a run was active, and overlap is skip", Skipped: 1, SkippedAt: fires}}},
		"one waits":     {kind: scheduler.Run, running: 1, pending: true, want: Decision{Verdict: Note, Cursor: Cursor{Why: waits, Skipped: 1, SkippedAt: fires}}},
		"one waits yet": {kind: scheduler.CaughtUp, pending: true, want: Decision{Verdict: Note, Cursor: Cursor{Why: waits, Skipped: 1, SkippedAt: fires}}},
		"all wait":      {kind: scheduler.CaughtUp, pending: true, policy: scheduler.All, want: Decision{Verdict: Submit, Origin: ipc.OriginCatchUp}},
		"all, in time":  {kind: scheduler.Run, pending: true, policy: scheduler.All, want: Decision{Verdict: Note, Cursor: Cursor{Why: waits, Skipped: 1, SkippedAt: fires}}},
		"not fit":       {kind: scheduler.CaughtUp, unfit: unfit, want: Decision{Verdict: Refuse, Err: unfit, Cursor: Cursor{Why: unfit.Error(), Refused: 1}}},
		"not fit first": {kind: scheduler.Run, overlap: mode.OverlapSkip, running: 1, unfit: unfit, want: Decision{Verdict: Refuse, Err: unfit, Cursor: Cursor{Why: unfit.Error(), Refused: 1}}},
		"left out":      {kind: scheduler.Skipped, unfit: unfit, want: Decision{Verdict: Note, Cursor: Cursor{Why: "passed while the daemon was down or the machine asleep, and catch_up is none"}}},
		"begins":        {kind: scheduler.Begun, unfit: unfit, running: 1, want: Decision{Verdict: Note}},
		"clock reset":   {kind: scheduler.Reset, want: Decision{Verdict: Note}},
		"daemon leaves": {kind: scheduler.Run, leaving: true, want: Decision{Verdict: Ignore}},
	} {
		t.Run(name, func(t *testing.T) {
			at := Standing{Running: c.running, Pending: c.pending, Leaving: c.leaving, At: noon(), Offset: offset}
			want := &c.want.Cursor
			if c.want.Verdict != Ignore {
				want.Due, want.At, want.Plan = noon().UnixNano(), noon().UnixNano(), "daily, 0 6 * * * UTC"
				want.Begun = c.kind == scheduler.Begun || c.kind == scheduler.Reset
			}
			if want.Why != "" {
				want.WhyDue = fires
			}
			if c.want.Verdict == Submit {
				c.want.Unran = *want
				want.Ran, c.want.Unran.WhyDue = fires, fires
			}
			op := daily(c.overlap)
			op.CatchUp = c.policy
			got := Admit(op, occurrence(c.kind), at, c.unfit)
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
			if c.kind == scheduler.Begun || c.kind == scheduler.Reset {
				want.Begun = true
				if c.from != nil && c.from.Plan == want.Plan {
					want.Ran = c.from.Due // an earlier version says no more of it
				}
			} else {
				want.Ran = noon().UnixNano()
			}
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
	got := Refused(d.Unran, errors.New("max_queue is 1"))
	if got.Refused != 2 || got.Why != "max_queue is 1" || got.Due != d.Cursor.Due || got.Ran != 0 || got.WhyDue != noon().UnixNano() {
		t.Errorf("refused: %+v", got)
	}
	if d.Cursor.Refused != 1 || d.Cursor.Why != "" {
		t.Errorf("the decision has changed: %+v", d.Cursor)
	}
}

// LAST is what ran: a due time that led to a job. A cursor of an earlier version
// says it by Due, which is an instant of the clock where counting began.
func TestLastRan(t *testing.T) {
	const second = int64(time.Second)
	for name, c := range map[string]struct {
		cursor Cursor
		want   int64
	}{
		"ran":                  {Cursor{Due: 100 * second, Ran: 70 * second}, 70 * second},
		"begun":                {Cursor{Due: 100 * second, Begun: true}, 0},
		"begun after a run":    {Cursor{Due: 100 * second, Begun: true, Ran: 70 * second}, 70 * second},
		"of before, ran":       {Cursor{Due: 100 * second}, 105 * second},
		"of before, begun":     {Cursor{Due: 100*second + 1}, 0},
		"of before, was left":  {Cursor{Due: 100 * second, Why: "a run was active"}, 0},
		"left out, none since": {Cursor{Due: 100 * second, Why: "a run was active", WhyDue: 1}, 0},
	} {
		if got := c.cursor.LastRan(5 * second); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
