package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dispatchd/ipc"
)

// define writes, replaces or with "" removes dispatchers' files, and reloads.
func (s *stage) define(root string, files map[string]string) ipc.Reload {
	s.t.Helper()
	for name, text := range files {
		path := filepath.Join(root, "dispatchers.d", name+".toml")
		err := os.WriteFile(path, []byte(text), 0o644)
		if text == "" {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.t.Fatal(err)
		}
	}
	r, err := s.Reload(s.t.Context(), ipc.Peer{}, false)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// schedule is how the schedule of a dispatcher stands.
func (s *stage) schedule(name string) ipc.Schedule {
	s.t.Helper()
	list, err := s.Schedule(s.t.Context(), ipc.Peer{}, ipc.ScheduleQuery{Dispatcher: name, Next: 1})
	if err != nil || len(list) != 1 {
		s.t.Fatalf("schedule of %s: %v, %v", name, list, err)
	}
	return list[0]
}

// zoneFile puts a zone of this machine under another name into a private tree.
func zoneFile(t *testing.T, dir, name, of string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/usr/share/zoneinfo", of))
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// A zone's file goes, or is spoilt, and another dispatcher is changed: what was good
// before stays in force whole, is due and runs. The dispatcher says what is wrong
// with its file.
func TestZoneFileGoesInForce(t *testing.T) {
	for how, spoil := range map[string]func(path string) error{
		"gone":    os.Remove,
		"garbage": func(path string) error { return os.WriteFile(path, []byte("no zone"), 0o600) },
	} {
		t.Run(how, func(t *testing.T) {
			zones := t.TempDir()
			t.Setenv("ZONEINFO", zones)
			bubble(t, func(t *testing.T, root string) {
				path := zoneFile(t, zones, "Old/Zone", "Europe/Berlin")
				const op = "script = 'x'\nschedule = '30 2 * * *'\ntimezone = 'Old/Zone'\n"
				s := set(t, root, map[string]string{"op": op, "other": "script = 'x'\n"}, quick)
				defer s.strike()
				next := s.schedule("op").Next
				if err := spoil(path); err != nil {
					t.Fatal(err)
				}
				for range 2 { // what was kept once is kept again
					r := s.define(root, map[string]string{"other": "script = 'y'\n"})
					if len(r.Faults) != 1 || !strings.Contains(r.Faults[0], "Old/Zone") {
						t.Errorf("faults: %v", r.Faults)
					}
				}
				if v := s.schedule("op"); len(v.Next) != 1 || !v.Next[0].Equal(next[0]) || v.Fault != "" {
					t.Errorf("schedule: %+v, next was %v", v, next)
				}
				d, err := s.Dispatcher(t.Context(), ipc.Peer{}, "op")
				if err != nil || !strings.Contains(d.Reason, "last good definition is in force") {
					t.Errorf("dispatcher: %+v, %v", d, err)
				}
				s.pass(25 * time.Hour)
				s.wantRan("op schedule 03-02 01:30")
				if err := s.do(t.Context(), func(s *state) {
					if kept := s.catalog.Load().Specs["op"]; kept == nil || kept.Timezone != "Old/Zone" {
						t.Errorf("kept: %+v", kept)
					}
				}); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// The machine's zone is changed while the daemon runs: within a minute, due times
// are computed anew, and nothing is caught up for that.
func TestMachineZoneChanges(t *testing.T) {
	zones := t.TempDir()
	t.Setenv("TZ", ":"+filepath.Join(zones, "localtime"))
	bubble(t, func(t *testing.T, root string) {
		zoneFile(t, zones, "localtime", "Europe/Berlin")
		s := set(t, root, map[string]string{
			"op": "script = 'x'\nschedule = '30 2 * * *'\n", "utc": "script = 'x'\nschedule = '0 9 * * *'\ntimezone = 'UTC'\n",
		}, quick)
		defer s.strike()
		s.pass(8 * time.Hour)
		s.wantRan("op schedule 03-02 01:30")
		zoneFile(t, zones, "localtime", "America/New_York")
		s.pass(90 * time.Second)
		if got := s.schedule("op").Next[0].UTC().Format("01-02 15:04"); got != "03-03 07:30" {
			t.Errorf("next in New York: %s", got)
		}
		if last := s.schedule("op").Last; last == nil || last.UTC().Format("01-02 15:04") != "03-02 01:30" {
			t.Errorf("last: %v", last)
		}
		s.pass(24 * time.Hour)
		s.wantRan("utc schedule 03-02 09:00", "op schedule 03-03 07:30")

		// At a reload at once, and a file that goes changes nothing.
		zoneFile(t, zones, "localtime", "Asia/Tokyo")
		s.define(root, nil)
		if got := s.schedule("op").Next[0].UTC().Format("01-02 15:04"); got != "03-03 17:30" {
			t.Errorf("next in Tokyo: %s", got)
		}
		if err := os.Remove(filepath.Join(zones, "localtime")); err != nil {
			t.Fatal(err)
		}
		s.pass(2 * time.Minute)
		if got := s.schedule("op").Next[0].UTC().Format("01-02 15:04"); got != "03-03 17:30" {
			t.Errorf("next without a file: %s", got)
		}
		status, err := s.Status(t.Context(), ipc.Peer{})
		if err != nil || !strings.Contains(strings.Join(status.Warnings, "\n"), "time zone") {
			t.Errorf("warnings: %v, %v", status.Warnings, err)
		}
	})
}

// A package brings other rules for a zone by name.
func TestZoneRulesChange(t *testing.T) {
	zones := t.TempDir()
	t.Setenv("ZONEINFO", zones)
	bubble(t, func(t *testing.T, root string) {
		zoneFile(t, zones, "My/Zone", "Europe/Berlin")
		s := set(t, root, map[string]string{"op": "script = 'x'\nschedule = '30 2 * * *'\ntimezone = 'My/Zone'\n"}, quick)
		defer s.strike()
		zoneFile(t, zones, "My/Zone", "Asia/Tokyo")
		s.pass(2 * time.Minute)
		if got := s.schedule("op").Next[0].UTC().Format("01-02 15:04"); got != "03-02 17:30" {
			t.Errorf("next by the new rules: %s", got)
		}
	})
}

// Nothing is missed while a definition was not in force, however it was taken out,
// over restarts too. What was due while the daemon was down is.
func TestOutOfForce(t *testing.T) {
	const op = "script = 'x'\nschedule = '0 3 * * *'\ntimezone = 'UTC'\n"
	for how, away := range map[string]string{
		"masked": " \n", "removed": "", "without its schedule": "script = 'x'\n", "another schedule": "script = 'x'\nschedule = '@every 100h'\n",
	} {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T, root string) {
				s := set(t, root, map[string]string{"op": op, "other": "script = 'x'\n"}, quick)
				s.pass(4 * time.Hour)
				s.wantRan("op schedule 03-02 03:00")
				s.define(root, map[string]string{"op": away})
				s.pass(24 * time.Hour)
				s.define(root, map[string]string{"op": op})
				s.pass(time.Minute)
				s.wantRan()

				// Put back while the daemon is down, which was restarted meanwhile.
				s.define(root, map[string]string{"op": away})
				s.pass(24 * time.Hour)
				s.strike()
				files := map[string]string{"other": "script = 'x'\n"}
				s = set(t, root, files, quick)
				s.pass(24 * time.Hour)
				s.strike()
				files["op"] = op
				s = set(t, root, files, quick)
				s.pass(time.Minute)
				s.wantRan()
				s.strike()
				s = set(t, root, files, quick)
				s.pass(time.Minute)
				s.wantRan()
				s.strike()
				s.pass(24 * time.Hour)
				s = set(t, root, files, quick)
				defer s.strike()
				s.pass(time.Minute)
				if ran := s.ran(); len(ran) != 1 || !strings.HasPrefix(ran[0], "op catch_up 03-06 04:0") {
					t.Errorf("after a day without a daemon: %v", ran)
				}
			})
		})
	}
}

// A file that is bad at the start and mended later: what was due while the daemon
// was down is caught up then, and nothing else.
func TestBadAtTheStart(t *testing.T) {
	const op = "script = 'x'\nschedule = '0 3 * * *'\ntimezone = 'UTC'\ncatch_up = 'all'\n"
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": op}, quick)
		s.pass(time.Hour)
		s.strike()
		s.pass(24 * time.Hour) // 03:00
		s = set(t, root, map[string]string{"op": "nonsense"}, quick)
		defer s.strike()
		s.pass(48 * time.Hour)
		s.define(root, map[string]string{"op": op})
		s.pass(time.Minute)
		s.wantRan("op catch_up 03-05 01:00")
		s.pass(3 * time.Hour)
		s.wantRan("op schedule 03-05 03:00")
	})
}

// LAST is what ran: nothing until a due time led to a job, as NEXT has said it, with
// the jitter. The last run is that of anybody who asked, with its end.
func TestLastIsWhatRan(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		files := map[string]string{"op": "script = 'x'\nschedule = 'daily'\njitter = '1h'\ntimezone = 'UTC'\n"}
		s := set(t, root, files, quick)
		s.pass(time.Minute)
		v := s.schedule("op")
		if v.Last != nil || v.LastRun != nil {
			t.Errorf("nothing was due yet: %v, %v", v.Last, v.LastRun)
		}
		next := v.Next[0]
		n := s.notify("op")
		s.await(n.ID)
		v = s.schedule("op")
		if v.Last != nil || v.LastRun == nil || v.LastRun.Job != n.ID || v.LastRun.State != ipc.Succeeded || v.LastRun.Origin != ipc.OriginNotify || v.LastRun.EndedAt == nil {
			t.Errorf("after a run by hand: %v, %+v", v.Last, v.LastRun)
		}
		s.pass(25 * time.Hour)
		check := func(when string) {
			t.Helper()
			v = s.schedule("op")
			if v.Last == nil || !v.Last.Equal(next) || v.LastRun == nil || v.LastRun.Origin != ipc.OriginSchedule || v.LastRun.Job == n.ID {
				t.Errorf("%s: last %v, next was %v, last run %+v", when, v.Last, next, v.LastRun)
			}
		}
		check("due")
		s.strike()
		s = set(t, root, files, quick)
		check("after a restart")
		s.define(root, map[string]string{"op": ""})
		s.define(root, files)
		check("taken out and put back")
		s.strike()
	})
}

// Due times do not pile up behind a queue that does not move: one waits, the others
// are left out, counted and told.
func TestOnePending(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{
			"paused": "script = 'x'\nschedule = 'hourly'\ntimezone = 'UTC'\nqueue_timeout = 0\n",
			"skip":   "script = 'x'\nschedule = 'hourly'\ntimezone = 'UTC'\nqueue_timeout = 0\noverlap = 'skip'\n",
			"slow":   "script = 'x'\nschedule = 'hourly'\ntimezone = 'UTC'\nqueue_timeout = 0\ntimeout = 0\n",
		}, func(name string, _ int) act {
			if name == "slow" {
				return act{lasts: 10 * time.Hour}
			}
			return act{lasts: time.Second}
		})
		defer s.strike()
		for _, name := range []string{"paused", "skip"} {
			if _, err := s.Pause(t.Context(), ipc.Peer{}, name, true); err != nil {
				t.Fatal(err)
			}
		}
		s.pass(9*time.Hour + 30*time.Minute)
		for name, want := range map[string]int64{"paused": 8, "skip": 8, "slow": 7} {
			v := s.schedule(name)
			if v.Skipped != want || v.Refused != 0 || v.LastSkipped == nil || v.LastSkipped.UTC().Format("15:04") != "09:00" {
				t.Errorf("%s: skipped %d, want %d, last %v, refused %d", name, v.Skipped, want, v.LastSkipped, v.Refused)
			}
			if !strings.Contains(v.Why, "has not started yet") || v.WhyDue == nil || !v.WhyDue.Equal(*v.LastSkipped) {
				t.Errorf("%s: why %q, %v", name, v.Why, v.WhyDue)
			}
		}
		s.ran()
		for _, name := range []string{"paused", "skip"} {
			if _, err := s.Pause(t.Context(), ipc.Peer{}, name, false); err != nil {
				t.Fatal(err)
			}
		}
		s.pass(10 * time.Minute)
		if ran := s.ran(); len(ran) != 2 {
			t.Errorf("ran at resume: %v", ran)
		}
	})
}

// Due times that overlap = "skip" leaves out are counted and shown, with the last.
func TestSkippedAreCounted(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		files := map[string]string{"op": "script = 'x'\nschedule = 'hourly'\ntimezone = 'UTC'\noverlap = 'skip'\ntimeout = 0\n"}
		s := set(t, root, files, func(string, int) act { return act{lasts: 5*time.Hour + 30*time.Minute} })
		defer s.strike()
		s.pass(6*time.Hour + 15*time.Minute)
		if v := s.schedule("op"); v.Skipped != 5 || v.LastSkipped == nil || v.LastSkipped.UTC().Format("15:04") != "06:00" || v.Last.UTC().Format("15:04") != "01:00" {
			t.Errorf("skipped %d, last %v, ran %v", v.Skipped, v.LastSkipped, v.Last)
		}
		s.pass(time.Hour)
		if v := s.schedule("op"); v.Skipped != 5 || v.Why != "" || v.Last.UTC().Format("15:04") != "07:00" {
			t.Errorf("after it: skipped %d, why %q, last %v", v.Skipped, v.Why, v.Last)
		}
	})
}
