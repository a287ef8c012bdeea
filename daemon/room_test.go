package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// A disk without room puts starts off, whichever it is and whatever is used up; who
// asks is told so, and the jobs start by themselves when there is room.
func TestNoRoom(t *testing.T) {
	for what, full := range map[string]store.Room{
		"bytes":  {Bytes: 3 << 20, Size: 1 << 30, Inodes: -1},
		"small":  {Bytes: 50 << 10, Size: 2 << 20, Inodes: -1},
		"inodes": {Bytes: 1 << 30, Size: 1 << 30, Inodes: 3},
	} {
		for _, dir := range []string{"/state", "/run", "/cache"} {
			if what == "bytes" && dir == "/run" { // 3 MiB are plenty there
				continue
			}
			bubble(t, func(t *testing.T, root string) {
				s := set(t, root, map[string]string{
					"op": "queue_timeout = 0\nscript = 'x'\n[cache]\nmax_age = 1\n",
				}, func(string, int) act { return act{lasts: time.Second, exit: proc.Exit{Code: 1}} })
				defer s.strike()
				var short atomic.Bool
				short.Store(true)
				s.set(func(path string) (store.Room, error) {
					if short.Load() && strings.HasSuffix(path, dir) {
						return full, nil
					}
					return store.Room{Bytes: 1 << 40, Size: 1 << 40, Inodes: 1 << 20}, nil
				})
				n := s.notify("op")
				s.pass(10*time.Minute + 100*time.Millisecond)
				job, err := s.Job(t.Context(), ipc.Peer{}, n.ID)
				if w := job.WaitingFor; err != nil || w == nil || w.Reason != ipc.WaitDisk || w.Lock != "" || !strings.Contains(w.Detail, root+dir) {
					t.Errorf("%s of %s: waits for %+v, %v", what, dir, w, err)
				}
				status, err := s.Status(t.Context(), ipc.Peer{})
				if health, _ := s.Health(t.Context(), ipc.Peer{}); err != nil || dir != "/cache" && (!strings.Contains(status.Starts, root+dir) || health.Status != "degraded") {
					t.Errorf("%s of %s: %q, %+v, %v", what, dir, status.Starts, health, err)
				}
				s.started()
				short.Store(false)
				if job := s.await(n.ID); job.State != ipc.Failed || job.Attempt != 1 {
					t.Errorf("%s of %s: %s, attempt %d", what, dir, job.State, job.Attempt)
				}
				s.started(10*time.Minute + time.Second)
				if status, _ := s.Status(t.Context(), ipc.Peer{}); status.Starts != "ok" {
					t.Errorf("with room again: %q", status.Starts)
				}
			})
		}
	}
}

// set puts another answer in the place of the disks'.
func (s *stage) set(room func(string) (store.Room, error)) {
	_ = s.do(s.t.Context(), func(st *state) { st.cfg.room = room })
	synctest.Wait()
}

// A reserve of 0 is none.
func TestNoReserve(t *testing.T) {
	h := &host{cfg: Config{Paths: ipc.RootPaths("/x"), room: func(string) (store.Room, error) { return store.Room{}, nil }}}
	if why := h.lack(nil, 1<<20); why != "" {
		t.Error(why)
	}
	h.settings.KeepFreeRun = 1
	if why := h.lack(nil, 0); !strings.Contains(why, "inodes") {
		t.Errorf("%q", why)
	}
	h.cfg.room = func(string) (store.Room, error) { return store.Room{Bytes: 300 << 10, Size: 1 << 30, Inodes: -1}, nil }
	h.settings.KeepFreeRun = 256 << 10
	if why := h.lack(nil, 1<<20); !strings.Contains(why, "1048576 bytes of arguments") {
		t.Errorf("%q", why)
	}
	if why := h.lack(nil, 1<<10); why != "" {
		t.Error(why)
	}
}

// A start that fails for want of room, or by another fault of ours, has not failed
// the job: it is tried again until it can be.
func TestOwnFaults(t *testing.T) {
	for what, cause := range map[string]struct {
		err    error
		reason ipc.Reason
		detail string
	}{
		"full":  {proc.Own(&unixError{"run directory: write", unix.ENOSPC}), ipc.WaitDisk, "no space left on device"},
		"quota": {&unixError{"output file: open", unix.EDQUOT}, ipc.WaitDisk, "disk quota exceeded"},
		"words": {proc.Own(errors.New("shim: run directory: write x: no space left on device")), ipc.WaitDisk, "no space left on device"},
		"shim":  {proc.Own(&unixError{"shim: fork/exec", unix.ENOENT}), ipc.WaitLock, "fork/exec"},
		"input": {proc.Own(&unixError{"arguments file: write", unix.EIO}), ipc.WaitLock, "input/output error"},
	} {
		bubble(t, func(t *testing.T, root string) {
			broken := true
			s := set(t, root, map[string]string{"op": "queue_timeout = 0\nscript = 'x'\n"}, func(string, int) act {
				if broken {
					return act{err: cause.err}
				}
				return act{lasts: time.Second}
			})
			defer s.strike()
			n := s.notify("op")
			s.pass(time.Minute + time.Second/2)
			job, err := s.Job(t.Context(), ipc.Peer{}, n.ID)
			if w := job.WaitingFor; err != nil || w == nil || w.Reason != cause.reason || !strings.Contains(w.Detail, cause.detail) {
				t.Errorf("%s: %s, waits for %+v, %v", what, job.State, w, err)
			}
			broken = false
			if job := s.await(n.ID); job.State != ipc.Succeeded || job.Attempt != 1 || len(job.Attempts) > 0 {
				t.Errorf("%s: %s, attempt %d", what, job.State, job.Attempt)
			}
		})
	}
}

// unixError is an errno with what was done.
type unixError struct {
	what string
	err  error
}

func (e *unixError) Error() string { return e.what + ": " + e.err.Error() }
func (e *unixError) Unwrap() error { return e.err }

// A lock file that somebody filled keeps no job from its start, and is cut when the
// daemon starts.
func TestFilledLockFile(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		acts := func(string, int) act { return act{lasts: time.Second} }
		files := map[string]string{"op": "script = 'x'\n"}
		s := set(t, root, files, acts)
		path := filepath.Join(s.cfg.Paths.Locks(), "fw.lock")
		fill := func() {
			if err := os.WriteFile(path, make([]byte, 1<<20), 0o660); err != nil {
				t.Fatal(err)
			}
		}
		long := func() bool {
			fi, err := os.Stat(path)
			return err != nil || fi.Size() > 4096
		}
		fill()
		s.set(func(string) (store.Room, error) {
			if long() {
				return store.Room{Size: 4 << 20, Inodes: -1}, nil
			}
			return store.Room{Bytes: 3 << 20, Size: 4 << 20, Inodes: -1}, nil
		})
		if job := s.await(s.notify("op").ID); job.State != ipc.Succeeded || long() {
			t.Errorf("%s; is the file long: %v", job.State, long())
		}
		fill()
		s.strike()
		s = set(t, root, files, acts)
		defer s.strike()
		synctest.Wait()
		if long() {
			t.Error("the next start leaves it as it is")
		}
	})
}
