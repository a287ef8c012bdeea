package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dispatchd/daemon/internal/run"
	"dispatchd/ipc"
)

// launches is a stage whose launches are looked at.
type launches struct {
	*stage
	mu   sync.Mutex
	list []run.Request // what was started
}

// queueUp sets a stage with one dispatcher, and lets three jobs of it queue up.
func queueUp(t *testing.T, root string, jobs int) (*launches, []string) {
	s := &launches{stage: set(t, root, map[string]string{"op": "script = 'x'\nsurvive_restart = false\n"},
		func(string, int) act { return act{lasts: time.Minute} })}
	play := s.runner.Start
	s.runner.Start = func(q run.Request) (run.Child, error) {
		s.mu.Lock()
		s.list = append(s.list, q)
		s.mu.Unlock()
		return play(q)
	}
	s.pause(true)
	var ids []string
	for range jobs {
		n, err := s.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op", Arguments: []byte(`{"a":1}`)})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, n.ID)
	}
	s.pause(false)
	synctest.Wait()
	return s, ids
}

func (s *launches) pause(on bool) {
	s.t.Helper()
	if _, err := s.Pause(s.t.Context(), ipc.Peer{}, "op", on); err != nil {
		s.t.Fatal(err)
	}
}

// files are the names in the run directory that belong to a job.
func (s *launches) files(job string) (list []string) {
	s.t.Helper()
	entries, err := os.ReadDir(s.jobsDir())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), job) {
			list = append(list, filepath.Ext(e.Name()))
		}
	}
	return list
}

// While a job runs, nothing is decided for the next one: its user, its program
// and its environment are looked up when it starts.
func TestNothingIsMadeAhead(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s, ids := queueUp(t, root, 2)
		defer s.strike()
		if got := s.files(ids[1]); got != nil {
			t.Errorf("made before its start: %v", got)
		}
		if len(s.list) != 1 {
			t.Errorf("%d launches built while one job runs", len(s.list))
		}
		if job := s.await(ids[1]); job.State != ipc.Succeeded || s.after() != 2*time.Minute {
			t.Errorf("%s after %s", job.State, s.after())
		}
	})
}

// A definition that changed meanwhile is what counts at the start.
func TestLaunchOfOldDefinition(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s, ids := queueUp(t, root, 2)
		defer s.strike()
		path := filepath.Join(s.cfg.Paths.Dispatchers, "op.toml")
		if err := os.WriteFile(path, []byte("script = 'x'\nsurvive_restart = false\nenvironment = { NEW = 'yes' }\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Reload(t.Context(), ipc.Peer{}, false); err != nil {
			t.Fatal(err)
		}
		s.await(ids[1])
		synctest.Wait() // its files are removed behind its end
		if !slices.Contains(s.list[1].Launch.Env, "NEW=yes") || slices.Contains(s.list[0].Launch.Env, "NEW=yes") {
			t.Errorf("environment %q", s.list[1].Launch.Env)
		}
		if s.files(ids[1]) != nil {
			t.Errorf("left %v", s.files(ids[1]))
		}
	})
}

// kept is a supervisor that can serve one more job.
type kept struct {
	of      string
	discard func(string)
}

func (k kept) Discard() { k.discard(k.of) }

// leaving is a child whose supervisor stays.
type leaving struct {
	run.Child
	kept
}

func (l leaving) Spare() run.Spare { return l.kept }

// A supervisor that stays serves the next job of its dispatcher if that starts at
// once, and nobody else's. Where none does, it ends.
func TestSpareSupervisor(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "script = 'x'\n", "other": "script = 'x'\n"}, func(string, int) act { return act{lasts: time.Second} })
		defer s.strike()
		var mu sync.Mutex
		var served, discarded []string
		discard := func(of string) {
			mu.Lock()
			defer mu.Unlock()
			discarded = append(discarded, of)
		}
		play := s.runner.Start
		s.runner.Start = func(q run.Request) (run.Child, error) {
			child, err := play(q)
			mu.Lock()
			defer mu.Unlock()
			from := "new"
			if k, ok := q.Spare.(kept); ok {
				from = k.of
			}
			served = append(served, q.Launch.Dispatcher+" by "+from)
			return leaving{child, kept{q.Launch.Dispatcher, discard}}, err
		}
		for range 3 {
			s.notify("op")
		}
		s.notify("other")
		s.pass(5 * time.Second)
		s.notify("op")
		s.pass(5 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(served)
		if want := []string{"op by new", "op by new", "op by op", "op by op", "other by new"}; !slices.Equal(served, want) {
			t.Errorf("served %q, want %q", served, want)
		}
		slices.Sort(discarded)
		if want := []string{"op", "op", "other"}; !slices.Equal(discarded, want) {
			t.Errorf("ended %q, want %q", discarded, want)
		}
	})
}
