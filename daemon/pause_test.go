package daemon

import (
	"testing"
	"time"

	"dispatchd/ipc"
)

// The time in a pause does not count against a job's queue_timeout, nor does that of a
// pause that the daemon was restarted in.
func TestPauseStopsTheQueueTimeout(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		files := map[string]string{"op": "queue_timeout = 2\nscript = 'x'\n"}
		acts := func(string, int) act { return act{lasts: time.Second} }
		pause := func(s *stage, on bool) {
			if _, err := s.Pause(t.Context(), ipc.Peer{}, "op", on); err != nil {
				t.Fatal(err)
			}
		}
		s := set(t, root, files, acts)
		pause(s, true)
		first, second := s.notify("op"), s.notify("op")
		s.pass(time.Hour)
		for _, id := range []string{first.ID, second.ID} {
			if job, err := s.Job(t.Context(), ipc.Peer{}, id); err != nil || job.State != ipc.Queued {
				t.Errorf("after an hour of pause: %s, %v", job.State, err)
			}
		}
		s.strike()
		s = set(t, root, nil, acts)
		defer s.strike()
		s.pass(time.Hour)
		pause(s, false)
		for _, id := range []string{first.ID, second.ID} {
			if job := s.await(id); job.State != ipc.Succeeded {
				t.Errorf("after the pause: %s", job.State)
			}
		}
	})
}
