package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// fill makes the disk full for the journal, until the function that it gives is
// called: its file takes no more bytes, and there is no room for a new one.
func (s *stage) fill() func() {
	s.t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		s.t.Skip(err)
	}
	defer func() { _ = full.Close() }()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		s.t.Skip(err)
	}
	state, found := s.cfg.Paths.State, false
	for _, fd := range fds {
		name := filepath.Join("/proc/self/fd", fd.Name())
		if to, err := os.Readlink(name); err != nil || to != filepath.Join(state, "journal") {
			continue
		}
		var n int
		if _, err := fmt.Sscan(fd.Name(), &n); err != nil {
			s.t.Fatal(err)
		}
		if err := unix.Dup3(int(full.Fd()), n, unix.O_CLOEXEC); err != nil {
			s.t.Fatal(err)
		}
		found = true
	}
	if !found {
		s.t.Fatal("the journal is not open")
	}
	thing := filepath.Join(state, "journal.new")
	if err := os.MkdirAll(filepath.Join(thing, "in the way"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		if err := os.Rename(thing, filepath.Join(state, "out of the way")); err != nil {
			s.t.Error(err)
		}
	}
}

// An end that cannot be written is not told to anybody: the job is what it was.
// With space again it is written, and told to who still waits.
func TestEndOnAFullDisk(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "script = 'x'\n"}, func(string, int) act { return act{lasts: time.Second} })
		defer s.strike()
		notify := func() (ipc.Notified, error) {
			return s.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op", IdempotencyKey: "k"})
		}
		n, err := notify()
		if err != nil {
			t.Fatal(err)
		}
		before := ask(t, func() (ipc.Job, error) { return s.Await(t.Context(), ipc.Peer{}, n.ID) })
		space := s.fill()
		s.pass(2 * time.Second)
		after := ask(t, func() (ipc.Job, error) { return s.Await(t.Context(), ipc.Peer{}, n.ID) })
		short, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		told := []<-chan ipc.State{
			ask(t, func() (ipc.State, error) { j, err := s.Job(t.Context(), ipc.Peer{}, n.ID); return j.State, err }),
			ask(t, func() (ipc.State, error) {
				list, err := s.Jobs(t.Context(), ipc.Peer{}, ipc.JobFilter{})
				return list[0].State, err
			}),
			ask(t, func() (ipc.State, error) { again, err := notify(); return again.State, err }),
			ask(t, func() (ipc.State, error) { j, err := s.Await(short, ipc.Peer{}, n.ID); return j.State, err }),
		}
		s.pass(2 * time.Minute)
		for i, ch := range told {
			if state := <-ch; state != ipc.Running {
				t.Errorf("%d: told that it is %s, which is not durable", i, state)
			}
		}
		if d, err := s.Dispatcher(t.Context(), ipc.Peer{}, "op"); err != nil || d.LastState != "" {
			t.Errorf("the dispatcher's last job is %s, %v", d.LastState, err)
		}
		if len(before)+len(after) > 0 {
			t.Error("a waiting client was told before it is durable")
		}
		space()
		s.pass(time.Second)
		for _, ch := range []<-chan ipc.Job{before, after} {
			if job := <-ch; job.State != ipc.Succeeded {
				t.Errorf("with space again it is %s", job.State)
			}
		}
		if d, err := s.Dispatcher(t.Context(), ipc.Peer{}, "op"); err != nil || d.LastState != ipc.Succeeded {
			t.Errorf("the dispatcher's last job is %s, %v", d.LastState, err)
		}
	})
}

// A stop on a full disk says how many ends it could not write, and is no error
// where there is none.
func TestStopOnAFullDisk(t *testing.T) {
	for ends := range 3 {
		bubble(t, func(t *testing.T, root string) {
			s := set(t, root, map[string]string{"op": "script = 'x'\nconcurrency = 3\n"}, func(string, int) act { return act{lasts: time.Second} })
			for range ends {
				if _, err := s.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op"}); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			s.fill()
			s.pass(2 * time.Second)
			if ends == 0 { // so that it is known
				if _, err := s.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op"}); !isKind(err, ipc.KindJournalUnavailable) {
					t.Fatal(err)
				}
			}
			start := time.Now()
			s.stopRuns()
			var err error
			s.loop.Stop(func(s *state) { err = closeJournal(s) })
			if took := time.Since(start); took > time.Second {
				t.Errorf("it took %s", took)
			}
			if (ends > 0) != (err != nil) || err != nil && !strings.Contains(err.Error(), fmt.Sprintf("how %d jobs ended", ends)) {
				t.Errorf("%d ends: %v", ends, err)
			}
		})
	}
}

// A join that a full disk refuses leaves the job its arguments: its client was told
// that nothing was stored.
func TestJoinThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "script = 'x'\ncoalesce = true\ncoalesce_key = ['id']\nqueue_timeout = 0\n"},
			func(string, int) act { return act{lasts: time.Second} })
		defer s.strike()
		if _, err := s.Pause(t.Context(), ipc.Peer{}, "op", true); err != nil {
			t.Fatal(err)
		}
		const before = `{"id":1,"v":"old"}`
		n, err := s.askAs(0, "op", before, "")
		if err != nil {
			t.Fatal(err)
		}
		empty := s.fill()
		if _, err := s.askAs(0, "op", `{"id":1,"v":"new"}`, "key"); !isKind(err, ipc.KindJournalUnavailable) {
			t.Errorf("on a full disk: %v", err)
		}
		job, err := s.Job(t.Context(), ipc.Peer{}, n.ID)
		if err != nil || string(job.Arguments) != before || job.CoalescedCount != 0 || len(job.Notifiers) != 1 {
			t.Errorf("%s, joined %d times, %v", job.Arguments, job.CoalescedCount, err)
		}
		empty()
		s.pass(time.Second)
		if n, err = s.askAs(0, "op", `{"id":1,"v":"new"}`, ""); err != nil || string(n.Arguments) != `{"id":1,"v":"new"}` {
			t.Errorf("with space again: %s, %v", n.Arguments, err)
		}
	})
}
