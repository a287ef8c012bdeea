package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dispatchd/ipc"
)

// spoil flips a bit in each journal line of an operation.
func spoil(t *testing.T, root string, ops ...string) {
	t.Helper()
	path := filepath.Join(ipc.RootPaths(root).State, "journal")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range ops {
		found := bytes.Index(text, []byte(`"op":"`+op+`"`))
		if found < 0 {
			t.Fatalf("no %s in %s", op, text)
		}
		text[found-12] ^= 1 // a digit of its checksum or number
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A job whose start and end are unreadable looks as if it had never run. It is
// not run again, unless its definition allows that, and the start says loudly
// what is lost. A job beside it is left alone.
func TestDamageNeverRunsTwice(t *testing.T) {
	for rule, want := range map[string]ipc.State{"fail": ipc.Interrupted, "rerun": ipc.Succeeded} {
		bubble(t, func(t *testing.T, root string) {
			files := map[string]string{"op": "script = 'x'\non_interrupt = '" + rule + "'\n", "other": "script = 'x'\n"}
			acts := func(string, int) act { return act{lasts: time.Second} }
			s := set(t, root, files, acts)
			if _, err := s.Pause(t.Context(), ipc.Peer{}, "other", true); err != nil {
				t.Fatal(err)
			}
			waits := s.notify("other")
			n := s.notify("op")
			if job := s.await(n.ID); job.State != ipc.Succeeded {
				t.Fatal(job.State)
			}
			s.strike()
			spoil(t, root, "start", "end")

			s = set(t, root, files, acts)
			defer s.strike()
			if job := s.await(n.ID); job.State != want {
				t.Errorf("%s: %s", rule, job.State)
			}
			if job, err := s.Job(t.Context(), ipc.Peer{}, waits.ID); err != nil || job.State != ipc.Queued {
				t.Errorf("the other job: %s, %v", job.State, err)
			}
			status, err := s.Status(t.Context(), ipc.Peer{})
			if err != nil || !strings.Contains(strings.Join(status.Warnings, "\n"), n.ID) {
				t.Errorf("warnings: %v, %v", status.Warnings, err)
			}
		})
	}
}
