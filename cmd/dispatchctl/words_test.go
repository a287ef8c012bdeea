package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/terminal"
)

func TestParseSince(t *testing.T) {
	zone := time.FixedZone("test", 2*3600)
	now := time.Date(2026, 11, 5, 1, 10, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"":                     {},
		"90m":                  now.Add(-90 * time.Minute),
		"0s":                   now,
		"2d":                   time.Date(2026, 11, 3, 1, 10, 0, 0, zone),
		"01:00":                time.Date(2026, 11, 5, 1, 0, 0, 0, zone),
		"23:30":                time.Date(2026, 11, 4, 23, 30, 0, 0, zone), // not in the future
		"23:30:15":             time.Date(2026, 11, 4, 23, 30, 15, 0, zone),
		"2026-11-01":           time.Date(2026, 11, 1, 0, 0, 0, 0, zone),
		"2026-11-01T08:15":     time.Date(2026, 11, 1, 8, 15, 0, 0, zone),
		"2026-11-01 08:15":     time.Date(2026, 11, 1, 8, 15, 0, 0, zone),
		"2026-11-01T08:15:00":  time.Date(2026, 11, 1, 8, 15, 0, 0, zone),
		"2026-11-01T08:15:00Z": time.Date(2026, 11, 1, 8, 15, 0, 0, time.UTC),
	} {
		if got, err := parseTime("--since", text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-1h", "-2d", "25:00", "2026-13-01", "1", "d"} {
		if got, err := parseTime("--since", text, now); err == nil {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
}

func TestWaits(t *testing.T) {
	until := time.Now()
	for _, c := range []struct {
		w    ipc.WaitingFor
		want string
	}{
		{ipc.WaitingFor{Reason: ipc.WaitTurn, Job: "J", EstimateSeconds: 5.4}, "waits for its turn, behind job J, about 5s"},
		{ipc.WaitingFor{Reason: ipc.WaitTurn, EstimateSeconds: 0.2}, "waits for its turn, about 1s"},
		{ipc.WaitingFor{Reason: ipc.WaitLock, Lock: "disk", PID: 7}, "waits for lock disk, held by process 7"},
		{ipc.WaitingFor{Reason: ipc.WaitLock, Lock: "dispatcher:op", PID: 7}, "waits for the lock of dispatcher op, held by process 7"},
		{ipc.WaitingFor{Reason: ipc.WaitPaused}, "waits: its dispatcher is paused"},
		{ipc.WaitingFor{Reason: ipc.WaitPaused, Detail: "disabled: bad"}, "waits: its dispatcher is disabled (disabled: bad)"},
		{ipc.WaitingFor{Reason: ipc.WaitSlot}, "waits for a free slot (max_running)"},
		{ipc.WaitingFor{Reason: ipc.WaitBackoff, Until: &until}, "waits to be tried again, until " + until.Local().Format(time.TimeOnly)},
		{ipc.WaitingFor{Reason: ipc.WaitDebounce}, "waits for quiet (debounce)"},
		{ipc.WaitingFor{Reason: "new"}, "waits (new)"},
	} {
		if got := waits(c.w); got != c.want {
			t.Errorf("%+v: %q, want %q", c.w, got, c.want)
		}
	}
}

func TestTooLong(t *testing.T) {
	for _, c := range []struct {
		lasts, usual time.Duration
		want         bool
	}{
		{time.Hour, 0, false}, // nothing is known
		{50 * time.Second, time.Second, false},
		{61 * time.Second, time.Second, true},
		{61 * time.Second, time.Minute, false},
		{181 * time.Second, time.Minute, true},
	} {
		if got := tooLong(c.lasts, c.usual); got != c.want {
			t.Errorf("%s where %s is usual: %t", c.lasts, c.usual, got)
		}
	}
}

func TestUnitSettings(t *testing.T) {
	etc, lib := t.TempDir(), t.TempDir()
	write := func(dir, name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want string) {
		t.Helper()
		if got := unitSettings("d.service", []string{etc, lib}).value("KillMode", "control-group"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	check("control-group")
	write(lib, "d.service", "[Service]\nKillMode=process\n")
	check("process")
	write(lib, "d.service.d/10.conf", "[Service]\nKillMode=mixed\n")
	check("mixed")
	write(etc, "d.service.d/10.conf", "[Service]\n#KillMode=none\n; KillMode=none\nNice=1\n") // replaces the other's file
	check("process")
	write(etc, "d.service.d/20.conf", "[Service]\nKillMode=process\nKillMode = control-group\n")
	check("control-group")
	write(etc, "d.service", "[Service]\n")
	if err := os.RemoveAll(filepath.Join(etc, "d.service.d")); err != nil {
		t.Fatal(err)
	}
	check("mixed") // the drop-in of lib holds for the unit of etc
}

func TestUnitOf(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/dispatchd.service\n":                      "dispatchd.service",
		"1:name=systemd:/x\n0::/system.slice/d.service/job-1\n":     "d.service",
		"0::/user.slice/user-0.slice/session-3.scope\n":             "",
		"0::/user.slice/user@0.service/app.slice/dispatchd.service": "dispatchd.service",
		"": "",
	} {
		if got := unitOf(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// A job's words can do nothing to a terminal.
func TestDescribeIsClean(t *testing.T) {
	job := ipc.Job{ID: "X", Dispatcher: "op", State: ipc.Failed, Error: &ipc.JobError{Message: "\x1b]0;title\a\nline"}}
	for _, l := range runLines(job) {
		if l.name != "why" {
			t.Errorf("%+v", l)
		}
	}
	var b strings.Builder
	a := &app{screen: screen{out: terminal.NewOutput(&b)}}
	if err := a.describe(job, nil, false); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\a") {
		t.Errorf("%q", b.String())
	}
}
