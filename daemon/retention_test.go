package daemon

import (
	"testing"
	"testing/synctest"
	"time"

	"dispatchd/ipc"
)

// Whatever the wall clock is set to, also over a restart: a key finds its job, and
// the job and its output are there, for as long as real time says.
func TestNothingIsForgottenByTheClock(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, steps := range map[string][]time.Duration{
		"1970 to now":         {-56 * year, 56 * year},
		"five years and back": {5 * year, -5 * year},
		"a century":           {100 * year, 0},
		"back and forth":      {-2 * year, 4 * year},
	} {
		for _, restarts := range []bool{false, true} {
			bubble(t, func(t *testing.T, root string) {
				configured(t, root, "history_age = '30h'\nhistory_keep = 0\n")
				files := map[string]string{"op": "script = 'x'\nmax_queue = 0\n", "other": "script = 'x'\n"}
				acts := func(string, int) act { return act{lasts: time.Second} }
				s := set(t, root, files, acts)
				s.ahead.Add(int64(steps[0]))
				n, err := s.askAs(0, "op", `{"a":1}`, "key")
				if err != nil {
					t.Fatal(err)
				}
				s.await(n.ID)
				hour := func() {
					s.pass(time.Hour)
					s.await(s.notify("other").ID) // its end has history and keys looked at
					synctest.Wait()
				}
				ahead := steps[0]
				for i, step := range append(steps[1:], -steps[0], steps[0]) {
					if restarts {
						s.strike()
						s = set(t, root, files, acts)
						s.ahead.Add(int64(ahead))
					}
					hour()
					s.ahead.Add(int64(step))
					ahead += step
					hour()
					again, err := s.askAs(0, "op", `{"a":1}`, "key")
					if err != nil || again.ID != n.ID {
						t.Errorf("%s, restarts %v, step %d: the key gives %s, %v", name, restarts, i, again.ID, err)
					}
					if job, err := s.Job(t.Context(), ipc.Peer{}, n.ID); err != nil || job.State != ipc.Succeeded {
						t.Errorf("%s, restarts %v, step %d: %s, %v", name, restarts, i, job.State, err)
					}
				}
				for range 32 { // real time passes
					hour()
				}
				if _, err := s.Job(t.Context(), ipc.Peer{}, n.ID); !isKind(err, ipc.KindJobUnknown) {
					t.Errorf("%s, restarts %v: after 30 hours it is still there: %v", name, restarts, err)
				}
				s.strike()
			})
		}
	}
}
