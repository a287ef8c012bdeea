package proc

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/dispatchers/mode"
)

// recorder is a kernel that notes the signals it is asked for.
type recorder struct {
	sent  []string
	alive bool // whether the group has processes left
}

func (r *recorder) send(pid int, s syscall.Signal) {
	r.sent = append(r.sent, fmt.Sprintf("%s %d", unix.SignalName(s), pid))
	if s == syscall.SIGKILL && pid < 0 {
		r.alive = false
	}
}

func (r *recorder) groupAlive(int) bool { return r.alive }

// fakeTree is a tree that dies when it is killed for the nth time.
type fakeTree struct {
	*recorder
	lives int
}

func (g *fakeTree) prepareAttr(*syscall.ProcAttr) {}
func (g *fakeTree) adopt(int)                     {}
func (g *fakeTree) path() string                  { return "/tree" }
func (g *fakeTree) empty() bool                   { return g.lives == 0 }
func (g *fakeTree) close()                        {}
func (g *fakeTree) signal(s syscall.Signal) {
	g.send(0, s)
	if s == syscall.SIGKILL && g.lives > 0 {
		g.lives--
	}
}

// at is a time in milliseconds from the start of a test.
func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

// testChild makes a child of process 7 with 100 ms of timeout and 50 ms of grace.
func testChild(m mode.KillMode, left mode.Leftovers) (*Child, *recorder) {
	r := &recorder{}
	c := &Child{launch: Launch{KillMode: m, Leftovers: left, Grace: 50 * time.Millisecond}, pid: 7, kernel: r, progress: -1}
	c.deadline = at(100)
	return c, r
}

// Sequences of events, and what must follow from each. A line of
// events is TIME EVENT → NEXT, where Advance wants to be called again (- = not
// before an event, over = never more).
func TestChild(t *testing.T) {
	for _, p := range []struct {
		name   string
		mode   mode.KillMode
		left   mode.Leftovers
		tree   int  // kills until the tree is empty; 0 = no tree
		rest   bool // the group has processes left
		events string
		sent   string
		want   Exit
	}{
		{
			name: "ends by itself", mode: mode.Group,
			events: "0 wait → 100, 30 died → over", sent: "",
		},
		{
			name: "stop, obeyed", mode: mode.Group,
			events: "10 stop → 60, 20 died → over", sent: "SIGTERM -7, SIGCONT -7, SIGKILL -7", want: Exit{Canceled: true},
		},
		{
			name: "stop twice, ignored, killed after the grace", mode: mode.Group,
			events: "10 stop → 60, 20 stop → 60, 60 wait → -, 61 died → over",
			sent:   "SIGTERM -7, SIGCONT -7, SIGKILL -7, SIGKILL -7", want: Exit{Canceled: true},
		},
		{
			name: "timeout", mode: mode.Group,
			events: "99 wait → 100, 100 wait → 150, 110 died → over",
			sent:   "SIGTERM -7, SIGCONT -7, SIGKILL -7", want: Exit{TimedOut: true},
		},
		{
			name: "the rest of a group has its grace", mode: mode.Group, rest: true,
			events: "10 stop → 60, 20 died → 40, 40 wait → 60, 60 wait → 70, 70 wait → over",
			sent:   "SIGTERM -7, SIGCONT -7, SIGKILL -7", want: Exit{Canceled: true},
		},
		{
			name: "kill takes no time", mode: mode.Group, rest: true,
			events: "10 kill → -, 11 died → over", sent: "SIGKILL -7, SIGKILL -7", want: Exit{Canceled: true},
		},
		{
			name: "kill ends a grace", mode: mode.Group, rest: true,
			events: "10 stop → 60, 20 died → 40, 25 kill → over", sent: "SIGTERM -7, SIGCONT -7, SIGKILL -7", want: Exit{Canceled: true},
		},
		{
			name: "process: the group is left alone", mode: mode.Process, rest: true,
			events: "10 stop → 60, 20 died → over", sent: "SIGTERM 7, SIGCONT 7", want: Exit{Canceled: true},
		},
		{
			name: "none: the timeout is told once, a stop refused", mode: mode.None, rest: true,
			events: "50 stop → 100, 100 late → -, 200 stop → -, 300 died → over", sent: "", want: Exit{TimedOut: true},
		},
		{
			name: "none: by hand the child alone is killed", mode: mode.None, rest: true,
			events: "50 kill → -, 60 died → over", sent: "SIGKILL 7", want: Exit{Canceled: true},
		},
		{
			name: "extended, from then on", mode: mode.Group,
			events: "90 extend → 190, 150 wait → 190, 190 wait → 240, 195 extend → 240, 200 died → over",
			sent:   "SIGTERM -7, SIGCONT -7, SIGKILL -7", want: Exit{TimedOut: true},
		},
		{
			name: "leftovers are killed", mode: mode.Group, left: mode.Kill, rest: true,
			events: "30 died → 50, 50 wait → 70, 70 wait → 80, 80 wait → over", sent: "SIGTERM -7, SIGKILL -7", want: Exit{Ended: at(30)},
		},
		{
			name: "leftovers in a tree go in their grace", mode: mode.Group, left: mode.Kill, tree: 1,
			events: "30 died → 33, 33 gone → over", sent: "SIGTERM 0", want: Exit{Ended: at(30)},
		},
		{
			name: "a tree is killed until it is empty", mode: mode.Tree, tree: 3,
			events: "10 stop → 60, 60 wait → -, 61 died → 64, 112 wait → 115, 115 wait → 118, 118 wait → over",
			sent:   "SIGTERM 0, SIGCONT 0, SIGKILL 0, SIGKILL 0, SIGKILL 0", want: Exit{Canceled: true},
		},
	} {
		t.Run(p.name, func(t *testing.T) {
			c, r := testChild(p.mode, p.left)
			r.alive = p.rest
			var g *fakeTree
			if p.tree > 0 {
				g = &fakeTree{r, p.tree}
				c.tree = g
			}
			for event := range strings.SplitSeq(p.events, ", ") {
				apply(t, c, g, event)
			}
			if sent := strings.Join(r.sent, ", "); sent != p.sent {
				t.Errorf("signals: %s\nwant:    %s", sent, p.sent)
			}
			if got, want := fmt.Sprintf("%+v", c.exit), fmt.Sprintf("%+v", p.want); got != want {
				t.Errorf("exit %s, want %s", got, want)
			}
		})
	}
}

// apply performs one event of TestChild.
func apply(t *testing.T, c *Child, g *fakeTree, event string) {
	t.Helper()
	var ms int
	var verb, want string
	if _, err := fmt.Sscanf(event, "%d %s → %s", &ms, &verb, &want); err != nil {
		t.Fatalf("%q: %v", event, err)
	}
	now := at(ms)
	switch verb {
	case "stop":
		c.Stop(now)
	case "kill":
		c.Kill(now)
	case "died":
		c.Died(now)
	case "gone":
		g.lives = 0
	case "extend":
		if err := c.Extend(now, 100*time.Millisecond); err != nil {
			t.Errorf("%s: %v", event, err)
		}
	}
	next, done := c.Advance(now)
	got := "-"
	switch {
	case done:
		got = "over"
	case !next.IsZero():
		got = fmt.Sprint(next.Sub(at(0)).Milliseconds())
	}
	if got != want {
		t.Errorf("%s: Advance says %s", event, got)
	}
	if _, told := c.Update(now); told != (verb == "late") {
		t.Errorf("%s: told %v", event, told)
	}
}

// After its death a child can neither be signalled nor extended, and before that
// a signal goes where kill_mode says.
func TestChildSignal(t *testing.T) {
	c, r := testChild(mode.Process, mode.Leave)
	if err := c.Signal(syscall.SIGHUP); err != nil || strings.Join(r.sent, ",") != "SIGHUP 7" {
		t.Errorf("%v, sent %v", err, r.sent)
	}
	c.Died(at(10))
	if err := c.Signal(syscall.SIGHUP); !errors.Is(err, os.ErrProcessDone) || len(r.sent) != 1 {
		t.Errorf("%v, sent %v", err, r.sent)
	}
	if err := c.Extend(at(20), time.Second); !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	if left := c.Left(at(20)); left != 0 {
		t.Errorf("%v are left of the timeout of a dead child", left)
	}
}

// A timeout that is just over is not none.
func TestChildLeft(t *testing.T) {
	c, _ := testChild(mode.Group, mode.Leave)
	if a, b := c.Left(at(30)), c.Left(at(300)); a != 70*time.Millisecond || b != 1 {
		t.Errorf("left %v, then %v", a, b)
	}
}

// The first word is told at once, then five times a second the newest, and the
// last one always.
func TestReport(t *testing.T) {
	c, _ := testChild(mode.Group, mode.Leave)
	c.deadline = time.Time{}
	told := func(ms int) string {
		u, ok := c.Update(at(ms))
		if !ok {
			return ""
		}
		return u.Message
	}
	c.report.feed([]byte("1 one\n2 tw"))
	if got := told(0); got != "one" {
		t.Errorf("first %q", got)
	}
	c.report.feed([]byte("o\n3 three\n"))
	if next, _ := c.Advance(at(10)); !next.Equal(at(200)) {
		t.Errorf("due at %v", next)
	}
	if got := told(199); got != "" {
		t.Errorf("told %q too early", got)
	}
	if got := told(200); got != "three" {
		t.Errorf("then %q", got)
	}
	if next, _ := c.Advance(at(210)); !next.IsZero() {
		t.Errorf("due at %v", next)
	}
	c.report.feed([]byte("4 four")) // without an end
	c.report.close()
	if got := told(211); got != "four" {
		t.Errorf("last %q", got)
	}
}

// A datagram moves the timeout, and its words are told.
func TestChildHeard(t *testing.T) {
	c, _ := testChild(mode.Group, mode.Leave)
	c.heard(at(50), []byte("EXTEND_TIMEOUT_USEC=500000\nSTATUS=busy"))
	c.heard(at(60), []byte("nonsense"))
	if left := c.Left(at(50)); left != 500*time.Millisecond {
		t.Errorf("%v are left", left)
	}
	if u, ok := c.Update(at(60)); !ok || u.Message != "busy" {
		t.Errorf("%+v %v", u, ok)
	}
}

// A child extends its own timeout up to its limit, however often it asks, and never
// makes it shorter; its owner is told of the new end, and may extend it further.
func TestExtendItself(t *testing.T) {
	c, r := testChild(mode.Group, mode.Leave)
	c.limit = at(300)
	extend := func(ms, by int) { c.heard(at(ms), fmt.Appendf(nil, "EXTEND_TIMEOUT_USEC=%d", by*1000)) }
	extend(20, 150)
	if u, told := c.Update(at(20)); !told || !u.Deadline.Equal(at(170)) {
		t.Errorf("told %t, %+v", told, u)
	}
	for ms := 30; ms < 290; ms += 10 { // each asks for a day
		extend(ms, 24*3600*1000-1)
		if next, done := c.Advance(at(ms)); done || len(r.sent) > 0 || next.After(at(300)) {
			t.Fatalf("at %d: next %v, sent %v", ms, next, r.sent)
		}
	}
	extend(290, 1)
	if !c.deadline.Equal(at(300)) || c.MostLeft(at(290)) != 10*time.Millisecond {
		t.Errorf("deadline %v, most left %s", c.deadline, c.MostLeft(at(290)))
	}
	extend(299, 1000)
	if c.Advance(at(300)); len(r.sent) == 0 || !c.exit.TimedOut {
		t.Errorf("at its limit: sent %v", r.sent)
	}
	c, _ = testChild(mode.Group, mode.Leave) // without a limit
	extend(50, 10_000)
	if !c.deadline.Equal(at(10_050)) || c.MostLeft(at(50)) != 0 {
		t.Errorf("deadline %v", c.deadline)
	}
	c.limit = at(60)
	if err := c.Extend(at(55), time.Second); err != nil || !c.deadline.Equal(at(1055)) {
		t.Errorf("by its owner: %v, deadline %v", err, c.deadline)
	}
}
