package schedules

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dispatchd/dispatchers"
	"dispatchd/dispatchers/mode"
	"dispatchd/scheduler"
)

// owner does what the daemon does with a Planner: it sleeps as Next says, asks
// Admit, and keeps cursors. What it keeps outlives a restart.
type owner struct {
	t        *testing.T
	planner  *Planner
	now      scheduler.Now
	entries  []*Entry
	running  map[string]int
	broken   bool // the journal
	deferred []scheduler.Occurrence
	log      []string
}

func newOwner(t *testing.T, specs ...*dispatchers.Spec) *owner {
	o := &owner{t: t, now: scheduler.Now{Wall: time.Date(2026, 3, 2, 0, 0, 1, 0, time.UTC)}, running: map[string]int{}}
	for _, s := range specs {
		o.entries = append(o.entries, &Entry{Name: s.Name, Spec: s})
	}
	o.start()
	return o
}

// start is a daemon's start: its Planner knows nothing but the cursors.
func (o *owner) start() {
	o.planner = New("host", &scheduler.Zones{})
	o.deferred = nil
	o.plan()
	o.due()
}

func (o *owner) plan() {
	o.t.Helper()
	if faults := o.planner.Plan(o.now, o.all()); len(faults) > 0 {
		o.t.Errorf("plan: %v", faults)
	}
}

func (o *owner) all() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for _, e := range o.entries {
			if !yield(*e) {
				return
			}
		}
	}
}

func (o *owner) entry(name string) *Entry {
	i := slices.IndexFunc(o.entries, func(e *Entry) bool { return e.Name == name })
	if i < 0 {
		return nil
	}
	return o.entries[i]
}

// pass lets time pass on both clocks, in the naps that Next asks for.
func (o *owner) pass(d time.Duration) {
	for end := o.now.Mono + d; o.now.Mono < end; o.due() {
		nap, any := o.planner.Next(o.now)
		if !any {
			nap = end - o.now.Mono
		}
		nap = min(nap, end-o.now.Mono)
		o.now.Mono += nap
		o.now.Wall = o.now.Wall.Add(nap)
	}
}

func (o *owner) due() {
	var deferred []scheduler.Occurrence
	if !o.broken {
		deferred, o.deferred = o.deferred, nil
	}
	for _, d := range o.planner.Due(o.now, deferred...) {
		for _, one := range d.Occurrences {
			if e := o.entry(d.Dispatcher); e != nil {
				o.admit(e, one)
			}
		}
	}
}

func (o *owner) admit(e *Entry, one scheduler.Occurrence) {
	d := Admit(e.Spec, one, Standing{Cursor: e.Cursor, Running: o.running[e.Name], At: o.now.Wall, Offset: o.planner.Offset(e.Name, e.Spec)}, nil)
	switch {
	case d.Verdict == Ignore:
		return
	case d.Verdict == Submit && o.broken:
		o.deferred = append(o.deferred, Deferred(one))
		return
	case d.Verdict == Submit:
		o.log = append(o.log, fmt.Sprintf("%s %s %s", e.Name, d.Origin, o.now.Wall.UTC().Format("01-02 15:04")))
	}
	e.Cursor = &d.Cursor
}

// wantLog compares what was submitted since the last time.
func (o *owner) wantLog(want ...string) {
	o.t.Helper()
	if diff := cmp.Diff(want, o.log); diff != "" {
		o.t.Errorf("submitted (-want +got):\n%s", diff)
	}
	o.log = nil
}

func spec(name, schedule, zone string) *dispatchers.Spec {
	return &dispatchers.Spec{Name: name, Timing: dispatchers.Timing{
		Schedule: []string{schedule}, Timezone: zone, CatchUp: scheduler.Latest, Overlap: mode.OverlapQueue,
	}}
}

// A year in Berlin: once a day, whatever the clocks do, and restarts in between
// change nothing.
func TestYear(t *testing.T) {
	o := newOwner(t, spec("op", "30 2 * * *", "Europe/Berlin"))
	for range 73 {
		o.pass(5 * 24 * time.Hour)
		o.start()
	}
	if len(o.log) != 365 {
		t.Errorf("%d runs in a year", len(o.log))
	}
	for _, at := range []string{"03-02 01:30", "03-29 01:00", "03-30 00:30", "10-25 00:30", "10-26 01:30"} {
		if !slices.Contains(o.log, "op schedule "+at) {
			t.Errorf("nothing ran at %s UTC", at)
		}
	}
}

// What passed while no daemon ran is caught up once, by the cursor alone.
func TestRestart(t *testing.T) {
	for policy, want := range map[scheduler.CatchUp][]string{
		scheduler.None:   nil,
		scheduler.Latest: {"op catch_up 03-05 10:00"},
		scheduler.All:    {"op catch_up 03-05 10:00", "op catch_up 03-05 10:00", "op catch_up 03-05 10:00"},
	} {
		t.Run(string(policy), func(t *testing.T) {
			s := spec("op", "daily", "UTC")
			s.CatchUp = policy
			o := newOwner(t, s)
			o.wantLog()
			o.now.Wall = time.Date(2026, 3, 5, 10, 0, 0, 0, time.UTC) // another boot
			o.start()
			o.wantLog(want...)
			o.start()
			o.wantLog()
			v := o.planner.View(*o.entry("op"), 1)
			if skipped := strings.HasPrefix(v.Why, "passed while"); skipped != (policy == scheduler.None) {
				t.Errorf("view: %+v", v)
			}
			o.pass(14 * time.Hour)
			o.wantLog("op schedule 03-06 00:00")
		})
	}
}

// A schedule that was changed while no daemon ran has nothing to catch up.
func TestChangedWhileDown(t *testing.T) {
	o := newOwner(t, spec("op", "hourly", "UTC"))
	o.pass(time.Hour)
	o.log = nil
	o.now.Wall = o.now.Wall.Add(5*time.Hour + 10*time.Minute)
	o.entry("op").Spec = spec("op", "*/30 * * * *", "UTC")
	o.start()
	o.wantLog()
	o.pass(30 * time.Minute)
	o.wantLog("op schedule 03-02 06:30")
}

// A due time that the journal did not take is done when it does, before what is
// due by then, and by nobody twice.
func TestDeferred(t *testing.T) {
	o := newOwner(t, spec("op", "daily", "UTC"), spec("hourly", "hourly", "UTC"))
	o.broken = true
	o.pass(24 * time.Hour)
	o.wantLog()
	if len(o.deferred) != 25 {
		t.Fatalf("deferred: %v", o.deferred)
	}
	o.deferred = slices.DeleteFunc(o.deferred, func(d scheduler.Occurrence) bool { // the newest of each, as the daemon keeps them
		return d.Name == "hourly" && !d.Due.Equal(time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC))
	})
	o.broken = false
	o.due()
	slices.Sort(o.log)
	o.wantLog("hourly catch_up 03-03 00:00", "op catch_up 03-03 00:00")
	o.pass(time.Hour)
	o.wantLog("hourly schedule 03-03 01:00")

	// One that comes after a newer one was dealt with is ignored.
	o.deferred = []scheduler.Occurrence{{Name: "hourly", Kind: scheduler.CaughtUp, Due: noon(), Last: noon()}, {Name: "gone", Kind: scheduler.CaughtUp}}
	o.due()
	o.wantLog()
}

// By dispatcher: what is due of one is together, so that its fitness is looked
// up once; deferred ones come first.
func TestDueByDispatcher(t *testing.T) {
	o := newOwner(t, spec("a", "0 1 * * *", "UTC"), spec("b", "0 2 * * *", "UTC"))
	for _, e := range o.entries {
		e.Spec.CatchUp = scheduler.All
	}
	o.plan()
	o.now.Wall = o.now.Wall.Add(3 * 24 * time.Hour)
	late := scheduler.Occurrence{Name: "b", Kind: scheduler.CaughtUp, Due: noon()}
	var got []string
	for _, d := range o.planner.Due(o.now, late) {
		var line strings.Builder
		line.WriteString(d.Dispatcher)
		for _, one := range d.Occurrences {
			line.WriteString(one.Due.Format(" 02T15"))
		}
		got = append(got, fmt.Sprint(line.String(), " ", d.WantsRun()))
	}
	if diff := cmp.Diff([]string{"b 02T12 02T02 03T02 04T02 true", "a 02T01 03T01 04T01 true"}, got); diff != "" {
		t.Error(diff)
	}
	if again := o.planner.Due(o.now); len(again) > 0 {
		t.Errorf("due again: %v", again)
	}
	if (Due{Occurrences: []scheduler.Occurrence{{Kind: scheduler.Begun}, {Kind: scheduler.Skipped}}}).WantsRun() {
		t.Error("what is only to be noted wants a run")
	}
}

// A changed schedule begins anew, a removed one is forgotten, and one whose zone
// is unknown is told and keeps nobody from theirs.
func TestReload(t *testing.T) {
	o := newOwner(t, spec("op", "hourly", "UTC"), spec("other", "0 3 * * *", "UTC"), &dispatchers.Spec{Name: "none"}, &dispatchers.Spec{Name: "broken"})
	o.pass(time.Hour)
	o.wantLog("op schedule 03-02 01:00")
	o.entry("op").Cursor.Why = "of the schedule before"
	o.entry("op").Spec = spec("op", "30 * * * *", "UTC")
	if v := o.planner.View(*o.entry("op"), 0); v.Why != "" {
		t.Errorf("view of another plan: %+v", v)
	}
	o.plan()
	o.due()
	if got := o.entry("op").Cursor; got.Plan != "30 * * * * UTC" || got.Due != o.now.Wall.UnixNano() {
		t.Errorf("cursor after the change: %+v", got)
	}
	o.entries = slices.DeleteFunc(o.entries, func(e *Entry) bool { return e.Name == "other" })
	bad := &Entry{Name: "bad", Spec: spec("bad", "hourly", "Europe/Atlantis")}
	faults := o.planner.Plan(o.now, func(yield func(Entry) bool) {
		_ = yield(*bad) && yield(*o.entry("op")) && yield(Entry{Name: "unknown"})
	})
	if len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), "schedule of bad is not in force: timezone: ") {
		t.Errorf("faults: %v", faults)
	}
	if v := o.planner.View(*bad, 1); v.Fault == "" || v.Fault != o.planner.Fault("bad") || len(v.Next) > 0 || o.planner.Fault("op") != "" {
		t.Errorf("view of a schedule that is not in force: %+v", v)
	}
	o.pass(4 * time.Hour)
	o.wantLog("op schedule 03-02 01:30", "op schedule 03-02 02:30", "op schedule 03-02 03:30", "op schedule 03-02 04:30")
}

func TestView(t *testing.T) {
	s := spec("op", "0 6 * * *", "UTC")
	s.Jitter = time.Hour
	o := newOwner(t, s)
	offset := scheduler.Offset(time.Hour, "host", "op")
	e := o.entry("op")
	e.Paused = true
	e.Cursor.Why, e.Cursor.Refused, e.Cursor.Missed = "max_queue is 1", 2, 3
	v := o.planner.View(*e, 2)
	six := time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC).Add(offset)
	if v.Jitter != offset.String() || v.CatchUp != "latest" || v.Overlap != "queue" || !v.Paused || v.Why != "max_queue is 1" || v.Refused != 2 || v.Missed != 3 {
		t.Errorf("view: %+v", v)
	}
	if len(v.Next) != 2 || !v.Next[0].Equal(six) || !v.Next[1].Equal(six.Add(24*time.Hour)) {
		t.Errorf("next: %v, want %v", v.Next, six)
	}
	if v.Last != nil { // counting has begun, and nothing was due yet
		t.Errorf("last: %v", v.Last)
	}
	o.pass(8 * time.Hour)
	if v = o.planner.View(*o.entry("op"), 1); v.Last == nil || !v.Last.Equal(six) {
		t.Errorf("last: %v, next was %v", v.Last, six)
	}
	if v := New("host", &scheduler.Zones{}).View(Entry{Name: "op", Spec: s}, 2); v.Next == nil || len(v.Next) > 0 || v.Last != nil {
		t.Errorf("before it is planned: %+v", v)
	}
	if _, any := New("host", &scheduler.Zones{}).Next(o.now); any {
		t.Error("without a schedule there is something to wait for")
	}
	// Jitter is no delay that a restart forgets: the due time is the schedule's.
	o.pass(7 * time.Hour)
	o.wantLog("op schedule " + six.Format("01-02 15:04"))
	if due := time.Unix(0, e.Cursor.Due); !due.Equal(six.Add(-offset)) {
		t.Errorf("cursor at %v", due)
	}
}

// Where the clock cannot be right, the view of what waits for it says so. @every does
// not wait, as a Go program may write it too.
func TestClockDoubtful(t *testing.T) {
	o := newOwner(t, spec("day", "0 6 * * *", "UTC"), spec("both", "daily", "UTC"), spec("every", " @every  15m", "UTC"))
	o.entry("both").Spec.Schedule = append(o.entry("both").Spec.Schedule, "@every 1h")
	faulty := func(want ...string) {
		t.Helper()
		var got []string
		for e := range o.all() {
			if v := o.planner.View(e, 1); strings.HasPrefix(v.Fault, "the machine's clock cannot be right") {
				got = append(got, e.Name)
			} else if v.Fault != "" || len(v.Next) == 0 {
				t.Errorf("view: %+v", v)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("wait for the clock: %s, want %s", got, want)
		}
	}
	o.plan()
	faulty()
	right := o.now.Wall
	o.now.Wall = time.Date(1970, 1, 1, 0, 0, 1, 0, time.UTC)
	o.pass(time.Hour)
	faulty("day")
	o.plan()
	faulty("day")
	o.now.Wall = right.Add(time.Hour)
	o.pass(time.Minute)
	faulty()
}

// A clock that is set back by hours moves the cursor back; the schedule goes on
// from there.
func TestClockSetBack(t *testing.T) {
	o := newOwner(t, spec("op", "hourly", "UTC"))
	o.pass(10 * time.Hour)
	o.log = nil
	o.now.Wall = o.now.Wall.Add(-8 * time.Hour)
	o.pass(2 * time.Hour)
	o.wantLog("op schedule 03-02 03:00", "op schedule 03-02 04:00")
	if due := time.Unix(0, o.entry("op").Cursor.Due).UTC(); due.Hour() != 4 {
		t.Errorf("cursor at %v", due)
	}
}
