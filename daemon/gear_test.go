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

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/queue"
	"dispatchd/ipc"
)

// geared is a stage whose gear is looked at.
type geared struct {
	*stage
	mu   sync.Mutex
	list []gear // that was started with
}

// dress sets a stage with one dispatcher, and lets three jobs of it queue up.
func dress(t *testing.T, root string, jobs int) (*geared, []string) {
	s := &geared{stage: set(t, root, map[string]string{"op": "script = 'x'\nsurvive_restart = false\n"},
		func(string, int) act { return act{lasts: time.Minute} })}
	play := s.starter
	s.starter = func(r *run, g gear) (process, error) {
		s.mu.Lock()
		s.list = append(s.list, g)
		s.mu.Unlock()
		return play(r, g)
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

func (s *geared) pause(on bool) {
	s.t.Helper()
	if _, err := s.Pause(s.t.Context(), ipc.Peer{}, "op", on); err != nil {
		s.t.Fatal(err)
	}
}

// files are the names in the run directory that belong to a job.
func (s *geared) files(job string) (list []string) {
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

// next is the job that gear was made for ahead, "" = none.
func (s *geared) next() (id string) {
	s.t.Helper()
	err := s.do(s.t.Context(), func() {
		if a := s.aheads["op"]; a != nil {
			id = ulid.ULID(a.id).String()
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// While a job runs, the next one's gear is made: and that is what it gets.
func TestGearAhead(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s, ids := dress(t, root, 3)
		defer s.strike()
		if s.next() != ids[1] || !slices.Equal(s.files(ids[1]), []string{".args", ".notify"}) || s.files(ids[2]) != nil {
			t.Fatalf("made for %q: %v, %v", s.next(), s.files(ids[1]), s.files(ids[2]))
		}
		var made gear
		_ = s.do(t.Context(), func() { made = s.aheads["op"].gear })
		s.await(ids[1])
		synctest.Wait()
		if len(s.list) != 3 || s.list[1].kit != made.kit || s.list[1].kit == nil {
			t.Errorf("the second job was not started with what was made for it")
		}
		s.await(ids[2])
		if s.next() != "" || s.after() != 3*time.Minute {
			t.Errorf("made for %q, after %s", s.next(), s.after())
		}
	})
}

// What was made for a job that is canceled is given back; the one behind it is
// started without.
func TestGearOfCanceled(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s, ids := dress(t, root, 3)
		defer s.strike()
		if _, err := s.Cancel(t.Context(), ipc.Peer{}, ids[1]); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s.next() != "" || s.files(ids[1]) != nil {
			t.Errorf("made for %q, left %v", s.next(), s.files(ids[1]))
		}
		if job := s.await(ids[2]); job.State != ipc.Succeeded || s.after() != 2*time.Minute {
			t.Errorf("%s after %s", job.State, s.after())
		}
	})
}

// A definition that changed meanwhile is what counts at the start.
func TestGearOfOldDefinition(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s, ids := dress(t, root, 2)
		defer s.strike()
		path := filepath.Join(s.cfg.Paths.Dispatchers, "op.toml")
		if err := os.WriteFile(path, []byte("script = 'x'\nsurvive_restart = false\nenvironment = { NEW = 'yes' }\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Reload(t.Context(), ipc.Peer{}, false); err != nil {
			t.Fatal(err)
		}
		s.await(ids[1])
		if !slices.Contains(s.list[1].launch.Env, "NEW=yes") || slices.Contains(s.list[0].launch.Env, "NEW=yes") {
			t.Errorf("environment %q", s.list[1].launch.Env)
		}
		if s.files(ids[1]) != nil {
			t.Errorf("left %v", s.files(ids[1]))
		}
	})
}

// A stop gives back what was made and leaves nothing in the run directory.
func TestGearAtStop(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s, ids := dress(t, root, 2)
		if s.next() != ids[1] {
			t.Fatalf("made for %q", s.next())
		}
		s.strike()
		if got := s.files(ids[1]); got != nil {
			t.Errorf("left %v", got)
		}
		if job, ok := s.book.Job(ulid.MustParse(ids[1])); !ok || job.State != ipc.Queued {
			t.Errorf("the second job is %+v", job)
		}
		if _, _, ok := s.core.Head("op"); !ok {
			t.Error("the queue has lost it")
		}
		if _, _, ok := s.core.Head("other"); ok {
			t.Error("what is not there has a head")
		}
		if id, attempt, _ := s.core.Head("op"); id != queue.ID(ulid.MustParse(ids[1])) || attempt != 1 {
			t.Errorf("head %x, attempt %d", id, attempt)
		}
	})
}
