package daemon

import (
	"errors"
	"os"
	"path/filepath"
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

// What the next image gets finds a place where the run directory is gone, and a program
// of somebody else's is not executed.
func TestHandoverAndProgram(t *testing.T) {
	f, err := handover(&inherited{Listener: 7}, "/nonexistent", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if _, err := handover(&inherited{}, "/nonexistent"); err == nil {
		t.Error("no directory is no error")
	}
	path := filepath.Join(t.TempDir(), "program")
	for mode, good := range map[os.FileMode]bool{0o755: true, 0o757: false} {
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		if err := ownProgram(path); (err == nil) != good {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chmod(path, 0o755), os.Chown(path, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		if ownProgram(path) == nil {
			t.Error("a stranger's program is executed")
		}
	}
}
