package daemon

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dispatchd/daemon/internal/proc"
	"dispatchd/ipc"
	tests "dispatchd/test/box"
)

// quick is a child that ends at once.
func quick(string, int) act { return act{lasts: time.Second} }

// ran gives what was started so far, and forgets it.
func (s *stage) ran() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	jobs := s.jobs
	s.jobs = nil
	return jobs
}

// wantRan compares what was started.
func (s *stage) wantRan(want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.ran()); diff != "" {
		s.t.Errorf("started (-want +got):\n%s", diff)
	}
}

// step sets the wall clock, as settimeofday or a night's sleep does.
func (s *stage) step(d time.Duration) { s.ahead.Add(int64(d)) }

// A year of a schedule: once a day, whatever the clock in Berlin does, and the
// jobs say where they come from.
func TestScheduledYear(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "script = 'x'\nschedule = '30 2 * * *'\ntimezone = 'Europe/Berlin'\n"}, quick)
		defer s.strike()
		days, turns := 60, []string{"03-02 01:30", "03-29 01:00", "03-30 00:30"}
		if tests.Soak { // else as far as the change in spring; scheduler tests both
			days, turns = 365, append(turns, "10-25 00:30", "10-26 01:30")
		}
		s.pass(time.Duration(days) * 24 * time.Hour)
		ran := s.ran()
		if len(ran) != days {
			t.Errorf("%d runs in %d days", len(ran), days)
		}
		for _, at := range turns {
			if !slices.Contains(ran, "op schedule "+at) {
				t.Errorf("nothing ran at %s UTC", at)
			}
		}
	})
}

// What was due while no daemon ran is done as catch_up says, once.
func TestCatchUp(t *testing.T) {
	for policy, want := range map[string][]string{
		"none":   nil,
		"latest": {"op catch_up 03-05 10:00"},
		"all":    {"op catch_up 03-05 10:00", "op catch_up 03-05 10:00", "op catch_up 03-05 10:00"},
	} {
		t.Run(policy, func(t *testing.T) {
			bubble(t, func(t *testing.T, root string) {
				files := map[string]string{"op": "script = 'x'\nschedule = 'daily'\ntimezone = 'UTC'\ncatch_up = '" + policy + "'\n"}
				s := set(t, root, files, quick)
				s.pass(time.Hour)
				s.wantRan()
				s.strike()
				s.pass(3*24*time.Hour + 9*time.Hour) // three midnights
				s = set(t, root, files, quick)
				s.pass(time.Minute)
				s.wantRan(want...)
				s.strike()
				s = set(t, root, files, quick) // nothing is caught up twice
				defer s.strike()
				s.pass(time.Minute)
				s.wantRan()
				s.pass(14 * time.Hour)
				s.wantRan("op schedule 03-06 00:00")
			})
		})
	}
}

// A clock that is set is noticed within a minute: what was jumped over is done
// by catch_up, and what was done is not done again.
func TestClockSteps(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "script = 'x'\nschedule = '0 6 * * *'\ntimezone = 'UTC'\n"}, quick)
		defer s.strike()
		s.pass(7 * time.Hour)
		s.wantRan("op schedule 03-02 06:00")
		s.step(7 * 24 * time.Hour) // a week asleep
		s.pass(2 * time.Minute)
		if ran := s.ran(); len(ran) != 1 || !strings.HasPrefix(ran[0], "op catch_up 03-09 07:0") {
			t.Errorf("after a week asleep: %v", ran)
		}
		s.step(-2 * time.Hour) // 05:02: 06:00 has been done
		s.pass(2 * time.Hour)
		s.wantRan()
		s.step(-24 * time.Hour)
		s.pass(24 * time.Hour)
		s.wantRan("op schedule 03-09 06:00")
	})
}

// A tick that finds no place, or a run when overlap is skip, is not silent.
func TestRefusedTicks(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{
			"full": "script = 'x'\nschedule = 'hourly'\nmax_queue = 1\ntimeout = 0\n",
			"skip": "script = 'x'\nschedule = 'hourly'\noverlap = 'skip'\ntimeout = 0\n",
		}, func(string, int) act { return act{lasts: 90 * time.Minute} })
		defer s.strike()
		s.pass(2*time.Hour + time.Minute)
		ran := s.ran()
		slices.Sort(ran)
		if diff := cmp.Diff([]string{"full schedule 03-02 01:00", "skip schedule 03-02 01:00"}, ran); diff != "" {
			t.Error(diff)
		}
		for name, want := range map[string]string{"full": "1 refused: dispatcher full has 1 jobs outstanding", "skip": "0 refused: a run was active"} {
			v, err := s.Schedule(t.Context(), ipc.Peer{}, ipc.ScheduleQuery{Dispatcher: name, Next: 1})
			if err != nil || len(v) != 1 {
				t.Fatal(v, err)
			}
			if got := fmt.Sprintf("%d refused: %s", v[0].Refused, v[0].Why); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s", name, got)
			}
		}
	})
}

// Killed at any moment of a tick, the next daemon neither loses nor doubles it:
// what the journal had then is opened anew, line by line.
func TestKilledInATick(t *testing.T) {
	const page = 4096
	bubble(t, func(t *testing.T, root string) {
		files := map[string]string{"op": "script = 'x'\nschedule = 'daily'\ntimezone = 'UTC'\n"}
		s := set(t, filepath.Join(root, "all"), files, quick)
		s.pass(24*time.Hour + 10*time.Second)
		s.strike()
		text, err := os.ReadFile(filepath.Join(root, "all/state/journal"))
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.SplitAfter(bytes.TrimRight(text, "\x00"), []byte("\n"))
		s.pass(10 * time.Minute)
		cuts := 0
		for i := range lines {
			prefix := bytes.Join(lines[:i+1], nil)
			if !bytes.Contains(prefix, []byte(`"tick"`)) {
				continue // not even the beginning of the schedule: it begins now
			}
			cuts++
			dir := filepath.Join(root, strconv.Itoa(i))
			if err := os.MkdirAll(filepath.Join(dir, "state"), 0o755); err != nil {
				t.Fatal(err)
			}
			prefix = append(prefix, make([]byte, 2*page-len(prefix)%page)...)
			if err := os.WriteFile(filepath.Join(dir, "state/journal"), prefix, 0o600); err != nil {
				t.Fatal(err)
			}
			again := set(t, dir, files, quick)
			again.ahead.Store(s.ahead.Load())
			again.pass(time.Minute)
			jobs, err := again.Jobs(t.Context(), ipc.Peer{}, ipc.JobFilter{Limit: 10})
			if err != nil || len(jobs) != 1 {
				t.Errorf("after line %d of %d: %d jobs, %v\n%s", i+1, len(lines), len(jobs), err, lines[i])
			}
			again.strike()
		}
		if cuts < 4 { // begun, accepted, started, ended
			t.Errorf("only %d lines to cut at", cuts)
		}
	})
}

// The pause before a retry goes on over a restart, and so does what is known of
// the attempts.
func TestRetryOverRestart(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		files := map[string]string{"op": "script = 'x'\n[retry]\nattempts = 1\nbackoff = '10m'\nmax_backoff = '10m'\n"}
		acts := func(_ string, attempt int) act { return act{lasts: time.Second, exit: proc.Exit{Code: attempt % 2}} }
		s := set(t, root, files, acts)
		n := s.notify("op")
		s.pass(4 * time.Minute)
		s.strike()
		s = set(t, root, files, acts)
		defer s.strike()
		job := s.await(n.ID)
		if job.State != ipc.Succeeded || job.Attempt != 2 || len(job.Attempts) != 1 || *job.Attempts[0].ExitCode != 1 {
			t.Errorf("%+v", job)
		}
		s.started(6*time.Minute + time.Second)
	})
}
