package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dispatchd/ipc"
	"dispatchd/ipc/terminal"
)

// text makes lines comparable: "name: text".
func text(lines []line) []string {
	var list []string
	for _, l := range lines {
		list = append(list, l.name+": "+l.text)
	}
	return list
}

// Each group of lines about a job says what there is to say in its state, and
// nothing of what there is not.
func TestDescribeLines(t *testing.T) {
	at := time.Now().AddDate(0, 0, -1000) // long ago, so that the words for it do not change while this runs
	later := at.Add(90 * time.Second)
	at1, at2 := clock(at)+" (2 years ago)", clock(later)+" (2 years ago)"
	until := at.Add(2 * time.Hour)
	lock := &ipc.WaitingFor{Reason: ipc.WaitLock, Lock: "disk", EstimateSeconds: 65}
	cases := map[string]struct {
		lines []line
		want  []string
	}{
		"waits for a lock": {
			waitLines(ipc.Job{WaitingFor: lock}, &holder{Job: "J", Dispatcher: "op", State: ipc.Running, Since: at}),
			[]string{"why: waits for lock disk", "held by: job J of op (running)", "since: " + at1, "starts: in about 1m5s, as the last runs took"},
		},
		"waits for its turn": {
			waitLines(ipc.Job{WaitingFor: &ipc.WaitingFor{Reason: ipc.WaitTurn}}, &holder{Job: "J"}),
			[]string{"why: waits for its turn", "behind: job J", "starts: nobody can tell when"},
		},
		"waits for a time": {
			waitLines(ipc.Job{WaitingFor: &ipc.WaitingFor{Reason: ipc.WaitBackoff, Until: &until, Detail: "more"}}, nil),
			[]string{"why: waits to be tried again: more", "until: " + clock(until)},
		},
		"does not wait": {waitLines(ipc.Job{}, nil), nil},
		"ended in its second attempt": {
			runLines(ipc.Job{
				State: ipc.Failed, Attempt: 2, StartedAt: &at, EndedAt: &later, Error: &ipc.JobError{Message: "exit status 3"},
				Attempts: []ipc.Attempt{{Number: 1, StartedAt: at, EndedAt: later, Error: &ipc.JobError{Message: "timed out"}}},
			}),
			[]string{"why: exit status 3", "attempt 1: " + at1 + ": timed out", "started: " + at1 + ", attempt 2", "ended: " + at2 + ", after 1m30s"},
		},
		"an attempt without an error": {
			runLines(ipc.Job{Attempts: []ipc.Attempt{{Number: 1, StartedAt: at, EndedAt: later}}}),
			[]string{"attempt 1: " + at1 + ": ended " + at2},
		},
		"runs": {
			runLines(ipc.Job{State: ipc.Running, StartedAt: &at, Progress: &ipc.Progress{Percent: new(float64(41.6)), Message: "copies"}}),
			[]string{"started: " + at1, "progress: 42% copies"},
		},
		"ended unstarted": {runLines(ipc.Job{State: ipc.Canceled, EndedAt: &later}), []string{"ended: " + at2}},
		"by a person": {
			askLines(ipc.Job{CreatedAt: at, Origin: ipc.OriginNotify, CoalescedCount: 2, Notifiers: []ipc.Notifier{{Peer: ipc.Peer{UID: 7, PID: 8}}, {}}}),
			[]string{"asked for: " + at1 + ", by user 7, process 8; 2 more joined it"},
		},
		"by the clock": {
			askLines(ipc.Job{CreatedAt: at, Origin: ipc.OriginCatchUp, Notifiers: []ipc.Notifier{{Peer: ipc.Peer{UID: 0}}}}),
			[]string{"asked for: " + at1 + ", by catch-up, by user 0"},
		},
		"its work": {
			workLines(ipc.Job{
				Arguments: json.RawMessage(`{"a":1}`), Result: json.RawMessage(`"done"`), Output: ipc.Output{Bytes: 30, Dropped: 10},
				Error: &ipc.JobError{Detail: json.RawMessage(`{"id":"X"}`)},
			}),
			[]string{`arguments: {"a":1}`, `result: "done"`, `detail: {"id":"X"}`, "output: 30 bytes, 10 of them left out of the middle"},
		},
		"no work": {workLines(ipc.Job{}), []string{"output: 0 bytes"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, text(c.lines)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What to run next fits the state: each command that is named can be run.
func TestNextLines(t *testing.T) {
	at := time.Now()
	for _, c := range []struct {
		job  ipc.Job
		h    *holder
		want string
	}{
		{ipc.Job{State: ipc.Queued, Dispatcher: "op", WaitingFor: &ipc.WaitingFor{Reason: ipc.WaitPaused}}, nil, "dispatchctl resume op"},
		{ipc.Job{State: ipc.Queued, WaitingFor: &ipc.WaitingFor{Reason: ipc.WaitPaused, Detail: "disabled: bad"}}, nil, "mend its file, then run: dispatchctl reload"},
		{ipc.Job{State: ipc.Queued, WaitingFor: &ipc.WaitingFor{Reason: ipc.WaitLock}}, &holder{Job: "H", State: ipc.Running}, "dispatchctl log -f H follows what it does; dispatchctl cancel H ends it"},
		{ipc.Job{State: ipc.Queued, WaitingFor: &ipc.WaitingFor{Reason: ipc.WaitTurn}}, &holder{Job: "H", State: ipc.Queued}, ""},
		{ipc.Job{State: ipc.Queued, WaitingFor: &ipc.WaitingFor{Reason: ipc.WaitLock}}, &holder{PID: 7}, ""},
		{ipc.Job{State: ipc.Running, ID: "J"}, nil, "dispatchctl log -f J follows its output"},
		{ipc.Job{State: ipc.Failed, ID: "J", StartedAt: &at}, nil, "dispatchctl log J shows its output; dispatchctl retry J asks for it again"},
		{ipc.Job{State: ipc.Expired, ID: "J"}, nil, "dispatchctl retry J asks for it again"},
		{ipc.Job{State: ipc.Succeeded, ID: "J", StartedAt: &at}, nil, ""},
	} {
		var got strings.Builder
		for _, l := range nextLines(c.job, c.h) {
			got.WriteString(l.text)
		}
		if got.String() != c.want {
			t.Errorf("%+v: %q, want %q", c.job, got.String(), c.want)
		}
	}
}

func TestHolderWords(t *testing.T) {
	for _, c := range []struct {
		h    holder
		want string
	}{
		{holder{Job: "J", Dispatcher: "op", State: ipc.Running}, "job J of op (running)"},
		{holder{Job: "J"}, "job J"},
		{holder{}, "a process that the system does not name"},
		{holder{PID: 7}, "process 7"},
		{holder{PID: 7, Command: "sh -c \x1b[2J"}, "process 7 (sh -c \x1b[2J)"},
	} {
		if got := c.h.words(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.h, got, c.want)
		}
	}
}

func TestTook(t *testing.T) {
	at := time.Now()
	for d, want := range map[time.Duration]string{
		1234 * time.Microsecond: "1ms", 1449 * time.Millisecond: "1.4s", 59949 * time.Millisecond: "59.9s", 61600 * time.Millisecond: "1m2s", 0: "0s",
	} {
		end := at.Add(d)
		if got := took(ipc.Job{State: ipc.Succeeded, StartedAt: &at, EndedAt: &end}); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	early := at.Add(-time.Hour)
	if got := took(ipc.Job{State: ipc.Running, StartedAt: &early}); !strings.HasPrefix(got, "1h0m") || !strings.HasSuffix(got, "+") {
		t.Errorf("of one that runs: %q", got)
	}
	for _, j := range []ipc.Job{{State: ipc.Queued}, {State: ipc.Queued, StartedAt: &at}, {State: ipc.Canceled}} { // one waits to be tried again
		if got := took(j); got != "-" {
			t.Errorf("%+v: %q", j, got)
		}
	}
}

func TestBecause(t *testing.T) {
	for _, c := range []struct {
		job  ipc.Job
		want string
	}{
		{ipc.Job{}, ""},
		{ipc.Job{Error: &ipc.JobError{Message: "exit status 1"}, Progress: &ipc.Progress{Message: "x"}}, "exit status 1"},
		{ipc.Job{WaitingFor: &ipc.WaitingFor{Reason: ipc.WaitSlot}}, "waits for a free slot (max_running)"},
		{ipc.Job{Progress: &ipc.Progress{Message: "copies"}}, "copies"},
		{ipc.Job{Progress: &ipc.Progress{Percent: new(0.0)}}, "0%"},
	} {
		if got := because(c.job); got != c.want {
			t.Errorf("%+v: %q, want %q", c.job, got, c.want)
		}
	}
}

func TestCacheWords(t *testing.T) {
	at := time.Now()
	for _, c := range []struct {
		cache ipc.Cache
		want  string
	}{
		{ipc.Cache{}, "empty - any -"},
		{ipc.Cache{Refreshing: "J", MaxAge: 60}, "refreshing - 1m0s -"},
		{ipc.Cache{RefreshedAt: &at, Fresh: true, Age: 5, MaxAge: 3600}, "fresh 5s 1h0m0s -"},
		{ipc.Cache{RefreshedAt: &at, Age: 7200, MaxAge: 3600, Error: &ipc.CacheError{Message: "no route"}}, "stale 2h0m0s 1h0m0s no route"},
		{ipc.Cache{RefreshedAt: &at, Refreshing: "J", Fresh: true}, "refreshing 0s any -"},
	} {
		if got := strings.Join([]string{cacheState(c.cache), cacheAge(c.cache), maxAge(c.cache), cacheError(c.cache)}, " "); got != c.want {
			t.Errorf("%+v: %q, want %q", c.cache, got, c.want)
		}
	}
}

func TestLockWords(t *testing.T) {
	for _, c := range []struct {
		lock ipc.Lock
		want string
	}{
		{ipc.Lock{}, "- -"},
		{ipc.Lock{Holders: []ipc.LockHolder{{Job: "J", Shared: true, Since: time.Now().Add(-time.Hour)}}}, "shared 1 hour ago"},
		{ipc.Lock{Holders: []ipc.LockHolder{{Job: "J"}}}, "exclusive -"},
		{ipc.Lock{Holders: []ipc.LockHolder{{PID: 7}}}, "outside -"},
	} {
		if got := lockMode(c.lock) + " " + since(c.lock); got != c.want {
			t.Errorf("%+v: %q, want %q", c.lock, got, c.want)
		}
	}
	names := holders(ipc.Lock{Holders: []ipc.LockHolder{{Job: "J", Dispatcher: "op"}, {PID: -1}}})
	if diff := cmp.Diff([]string{"job J of op (running)", "process -1"}, names); diff != "" {
		t.Errorf("holders (-want +got):\n%s", diff)
	}
}

// An id begins with a digit, a name with a letter: a verb that needs a job says
// so of a name.
func TestIDs(t *testing.T) {
	for word, want := range map[string]bool{"01JDX": true, "0": true, "op": false, "-1": false, "": false} {
		if isID(word) != want {
			t.Errorf("%q is an id: %t", word, !want)
		}
	}
	if err := wantID("wait", "01J", "02K"); err != nil {
		t.Error(err)
	}
	p, ok := errors.AsType[*ipc.Error](wantID("wait", "01J", "op"))
	if !ok || p.Kind != ipc.KindJobUnknown || p.Suggestion != "dispatchctl jobs op shows the jobs of a dispatcher" {
		t.Errorf("%+v", p)
	}
}

// --patient asks again where that may help, and of a daemon that does not answer
// only for as long as one restarts.
func TestIsTransient(t *testing.T) {
	for kind, want := range map[ipc.Kind]bool{
		ipc.KindQueueFull: true, ipc.KindDraining: true, ipc.KindTooManyConnections: true, ipc.KindUnavailable: true,
		ipc.KindDispatcherUnknown: false, ipc.KindArgumentsInvalid: false, ipc.KindJournalUnavailable: false,
	} {
		if got := isTransient(ipc.Errorf(kind, "x"), time.Now()); got != want {
			t.Errorf("%s: %t", kind, got)
		}
	}
	if isTransient(ipc.Errorf(ipc.KindUnavailable, "x"), time.Now().Add(-restartTime)) {
		t.Error("a daemon that is gone for longer than a restart is still waited for")
	}
}

func TestWaitLimit(t *testing.T) {
	for text, want := range map[string]struct {
		limit time.Duration
		waits bool
	}{"": {0, false}, "true": {0, true}, "90s": {90 * time.Second, true}} {
		limit, waits, err := (&request{wait: text}).limit()
		if err != nil || limit != want.limit || waits != want.waits {
			t.Errorf("%q: %s, %t, %v", text, limit, waits, err)
		}
	}
	for _, text := range []string{"0s", "-1s", "30", "false"} {
		if _, _, err := (&request{wait: text}).limit(); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// The directories of an instance follow from its socket, or are not guessed.
func TestGuessPaths(t *testing.T) {
	for socket, want := range map[string]ipc.Paths{
		ipc.SystemPaths().Socket():   ipc.SystemPaths(),
		ipc.UserPaths().Socket():     ipc.UserPaths(),
		"/srv/x/run/control.sock":    ipc.RootPaths("/srv/x"),
		"/srv/x/other/elsewhere.sck": {Run: "/srv/x/other"},
	} {
		if diff := cmp.Diff(want, guessPaths(socket)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", socket, diff)
		}
	}
}

// --json counts before a --, behind which a command's own words begin.
func TestAsksForJSON(t *testing.T) {
	for line, want := range map[string]bool{"status --json": true, "--json status": true, "lock a -- cmd --json": false, "status": false, "status --jso": false} {
		if asksForJSON(strings.Fields(line)) != want {
			t.Errorf("%q: %t", line, !want)
		}
	}
}

// A reload prints what changed as data, and says what did not as talk.
func TestReloaded(t *testing.T) {
	for _, c := range []struct {
		r             ipc.Reload
		dry           bool
		data, comment string
	}{
		{ipc.Reload{}, false, "", "dispatchctl: nothing changed\n"},
		{ipc.Reload{}, true, "", "dispatchctl: nothing would change\n"},
		{ipc.Reload{Added: []string{"a", "b"}, Removed: []string{"c"}}, false, "added: a, b\nremoved: c\n", ""},
		{ipc.Reload{Changed: []string{"a"}}, true, "would be changed: a\n", ""},
		{
			ipc.Reload{Restart: []string{"max_running"}},
			false,
			"dispatchd.toml has other values of max_running: run dispatchctl upgrade to have them, with all jobs kept\n", "dispatchctl: nothing changed\n",
		},
	} {
		var out, errw strings.Builder
		(&app{screen: screen{out: terminal.NewOutput(&out), err: terminal.NewOutput(&errw)}}).reloaded(c.r, c.dry)
		if out.String() != c.data || errw.String() != c.comment {
			t.Errorf("%+v: %q, %q", c.r, out.String(), errw.String())
		}
	}
}

func TestNextOf(t *testing.T) {
	zone := time.FixedZone("X", 3600)
	s := ipc.Schedule{Next: []time.Time{time.Date(2026, 11, 30, 11, 0, 0, 0, time.UTC)}}
	if got := nextOf(s, zone, 0); got != "Mon 2026-11-30 12:00:00 X" {
		t.Error(got)
	}
	if got := nextOf(s, zone, 1); got != "never" {
		t.Error(got)
	}
}

// A time of today has no date.
func TestClock(t *testing.T) {
	now := time.Now()
	if got := clock(now); got != now.Format(time.TimeOnly) {
		t.Error(got)
	}
	if old := now.AddDate(-1, 0, 0); clock(old) != old.Format(time.DateTime) {
		t.Error(clock(old))
	}
}
