package daemon

import (
	"testing"
	"time"

	"dispatchd/ipc/server"
)

// Due times that come while the daemon makes way for the next image are not lost
// when there is none after all: they run when the old one goes on.
func TestDueWhileHandingOver(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{
			"disk":   "script = 'x'\nschedule = '1 0 * * *'\ncatch_up = 'none'\n",
			"memory": "script = 'x'\nschedule = '1 0 * * *'\ncatch_up = 'none'\ndurability = 'memory'\n",
		}, func(string, int) act { return act{lasts: time.Second} })
		defer s.strike()
		if err := s.do(t.Context(), func(s *state) { s.handingOver = true; s.core.Freeze(true) }); err != nil {
			t.Fatal(err)
		}
		s.pass(2 * time.Minute)
		s.started()
		if err := s.resumeServing(server.New(s.backend, server.Options{})); err != nil {
			t.Fatal(err)
		}
		s.pass(10 * time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		ran := map[string]int{}
		for _, job := range s.jobs {
			ran[job]++
		}
		if len(s.jobs) != 2 || ran["disk schedule 03-02 00:02"] != 1 || ran["memory catch_up 03-02 00:02"] != 1 {
			t.Errorf("ran: %v", s.jobs)
		}
	})
}
