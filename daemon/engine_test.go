package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/durable"
	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/run"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// The tests here are of time: they run in a bubble with a clock of its own, so
// real children, which would hold that clock up, are played by acts.

// act is what a played child does: how long it runs, and how it ends.
type act struct {
	lasts time.Duration // 0 = until it is stopped
	exit  proc.Exit
	err   error // it cannot be started
}

// played is a child that is none.
type played struct {
	done chan struct{}
	stop chan struct{}
	once sync.Once
	exit proc.Exit
}

func (p *played) Done() <-chan struct{}       { return p.done }
func (p *played) Exit() proc.Exit             { <-p.done; return p.exit }
func (p *played) Stop() error                 { p.once.Do(func() { close(p.stop) }); return nil }
func (p *played) Signal(syscall.Signal) error { return nil }
func (p *played) Extend(time.Duration) error  { return nil }
func (p *played) Leave()                      {}
func (p *played) Supervised() bool            { return false }

// play lets an act begin.
func play(a act) *played {
	p := &played{done: make(chan struct{}), stop: make(chan struct{}), exit: a.exit}
	p.exit.Started = time.Now()
	go func() {
		var end <-chan time.Time
		if a.lasts > 0 {
			end = time.After(a.lasts)
		}
		select {
		case <-end:
		case <-p.stop:
			p.exit.Canceled = true
		}
		p.exit.Ended = time.Now()
		close(p.done)
	}()
	return p
}

// stage is a daemon whose children are played.
type stage struct {
	*daemon
	t      *testing.T
	from   time.Time
	starts []time.Duration // when, since the stage was set
	jobs   []string        // origin and wall time of each start
	locks  [][]*os.File    // of each start
	disk   durable.Journal // the daemon's own, to hold it up
	ahead  atomic.Int64    // of the bubble's clock, the wall clock
	mu     sync.Mutex
}

// built makes a daemon with these definitions.
func built(t *testing.T, root string, files map[string]string, cfg Config) (*daemon, func(*state)) {
	t.Helper()
	p := ipc.RootPaths(root)
	for name, text := range files {
		if err := os.MkdirAll(p.Dispatchers, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.Dispatchers, name+".toml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := makeRunDir(p, ""); err != nil {
		t.Fatal(err)
	}
	dir, err := store.Open(p.State, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	settings, _ := dispatchers.LoadSettings(p.Config)
	cfg.Paths, cfg.Log = p, slog.New(slog.DiscardHandler)
	d, first, err := newDaemon(cfg, settings, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d, first
}

// set makes a daemon with these definitions; acts says what each start does.
func set(t *testing.T, root string, files map[string]string, acts func(name string, attempt int) act) *stage {
	t.Helper()
	s := &stage{t: t, from: time.Now()}
	s.ahead.Store(int64(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC).Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))))
	wall := func() time.Time { return time.Now().UTC().Add(time.Duration(s.ahead.Load())) }
	d, first := built(t, root, files, Config{wall: wall, disk: func(j durable.Journal) { s.disk = j }})
	s.daemon = d
	d.runner.Start = func(q run.Request) (run.Child, error) {
		name := q.Launch.Dispatcher
		attempt, _ := strconv.Atoi(variable(q, "DISPATCHD_ATTEMPT"))
		var locks []*os.File
		for f := range q.Locks.All() {
			locks = append(locks, f)
		}
		s.mu.Lock()
		s.starts = append(s.starts, time.Since(s.from))
		s.locks = append(s.locks, locks)
		s.jobs = append(s.jobs, name+" "+variable(q, "DISPATCHD_ORIGIN")+" "+wall().Format("01-02 15:04"))
		s.mu.Unlock()
		a := acts(name, attempt)
		if a.err != nil {
			return nil, a.err
		}
		return play(a), nil
	}
	d.start(first)
	return s
}

// variable is what a child finds in its environment.
func variable(q run.Request, name string) string {
	for _, v := range q.Launch.Env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// strike ends the daemon.
func (s *stage) strike() {
	s.stopRuns()
	var broken error
	s.loop.Stop(func(s *state) { broken = closeJournal(s) })
	if broken != nil {
		s.t.Error(broken)
	}
	if err := s.dir.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *stage) notify(name string) ipc.Notified {
	s.t.Helper()
	n, err := s.Notify(s.t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: name})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *stage) await(id string) ipc.Job {
	s.t.Helper()
	job, err := s.Await(s.t.Context(), ipc.Peer{}, id)
	if err != nil {
		s.t.Fatal(err)
	}
	return job
}

// after is the time on the bubble's clock, rounded by what real file calls take
// there: nothing.
func (s *stage) after() time.Duration { return time.Since(s.from) }

// pass lets time pass on the bubble's clock.
func (s *stage) pass(d time.Duration) { <-time.After(d) }

func (s *stage) started(want ...time.Duration) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if fmt.Sprint(s.starts) != fmt.Sprint(want) {
		s.t.Errorf("starts at %v, want %v", s.starts, want)
	}
}

// bubble runs a test in a bubble. The root is made outside of it, and short.
func bubble(t *testing.T, fn func(t *testing.T, root string)) {
	t.Helper()
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) { fn(t, root) })
}

func TestQueueTimeout(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "timeout = 0\nqueue_timeout = '30s'\nscript = 'x'\n"},
			func(string, int) act { return act{lasts: time.Minute} })
		defer s.strike()
		first, second := s.notify("op"), s.notify("op")
		if job := s.await(second.ID); job.State != ipc.Expired || s.after() != 30*time.Second || job.Attempt != 0 {
			t.Errorf("second: %s after %s", job.State, s.after())
		}
		if job := s.await(first.ID); job.State != ipc.Succeeded || s.after() != time.Minute {
			t.Errorf("first: %s after %s", job.State, s.after())
		}
		s.started(0)
	})
}

func TestRetry(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "script = 'x'\n[retry]\nattempts = 3\nbackoff = '10s'\nmax_backoff = '15s'\n"},
			func(_ string, attempt int) act {
				return act{lasts: time.Second, exit: proc.Exit{Code: attempt % 4}} // the fourth succeeds
			})
		defer s.strike()
		n := s.notify("op")
		if job := s.await(n.ID); job.State != ipc.Succeeded || job.Attempt != 4 {
			t.Errorf("%s after attempt %d", job.State, job.Attempt)
		}
		job := s.await(n.ID)
		for i, a := range job.Attempts {
			if a.Number != i+1 || a.ExitCode == nil || *a.ExitCode != i+1 || a.Error == nil || a.EndedAt.Sub(a.StartedAt) != time.Second {
				t.Errorf("attempt %d: %+v", i+1, a)
			}
		}
		if len(job.Attempts) != 3 {
			t.Errorf("%d attempts are told of", len(job.Attempts))
		}
		s.started(0, 11*time.Second, 27*time.Second, 43*time.Second)
	})
}

func TestDebounce(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "script = 'x'\ndebounce = '5s'\ndebounce_max = '12s'\n"},
			func(string, int) act { return act{lasts: time.Second} })
		defer s.strike()
		n := s.notify("op")
		for range 4 {
			s.pass(3 * time.Second)
			if again := s.notify("op"); s.after() < 12*time.Second && (again.ID != n.ID || !again.Coalesced) {
				t.Errorf("after %s: %+v", s.after(), again)
			}
		}
		if job := s.await(n.ID); job.State != ipc.Succeeded {
			t.Errorf("%s", job.State)
		}
		s.started(12 * time.Second)
	})
}

// A lock that somebody outside holds is tried once a second, and the job says
// who that is.
func TestOutsideLock(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "script = 'x'\n[locks]\nexclusive = ['l']\n"},
			func(string, int) act { return act{lasts: time.Second} })
		defer s.strike()
		f, err := os.OpenFile(filepath.Join(root, "run/locks/l.lock"), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		n := s.notify("op")
		s.pass(10500 * time.Millisecond)
		job, err := s.Job(t.Context(), ipc.Peer{}, n.ID)
		if err != nil || job.WaitingFor == nil || job.WaitingFor.Lock != "l" || job.WaitingFor.PID != os.Getpid() {
			t.Errorf("waits for %+v, %v", job.WaitingFor, err)
		}
		_ = f.Close()
		if job := s.await(n.ID); job.State != ipc.Succeeded {
			t.Errorf("%s", job.State)
		}
		s.started(11 * time.Second)
	})
}

// A run takes its locks anew and frees them at its end, shared and exclusive
// ones, so that between two runs others have their chance at them.
func TestLocksAreFreedBetweenRuns(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{
			"op":   "script = 'x'\n[locks]\nexclusive = ['l']\n",
			"look": "script = 'x'\n[locks]\nshared = ['l']\n",
		}, func(string, int) act { return act{lasts: 20 * time.Millisecond} })
		defer s.strike()
		for range 5 {
			s.notify("op")
		}
		n := s.notify("look")
		s.notify("op")
		if job := s.await(n.ID); job.State != ipc.Succeeded {
			t.Errorf("%s", job.State)
		}
		s.pass(time.Second)
		s.started(0, 20*time.Millisecond, 40*time.Millisecond, 60*time.Millisecond, 80*time.Millisecond, 100*time.Millisecond, 120*time.Millisecond)
		for i, locks := range s.locks {
			if i > 0 && locks[1] == s.locks[i-1][1] {
				t.Errorf("start %d has the lock file of the run before", i+1)
			}
		}
		for _, path := range []string{"run/locks/l.lock", "run/dispatchers/op.lock"} {
			f, err := os.Open(filepath.Join(root, path))
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
				t.Errorf("%s, with nothing to do: %v", path, err)
			}
			_ = f.Close()
		}
	})
}

// What is lost is told, or run again where that is allowed; what never began,
// or could not for want of something, does not count.
func TestLostAndPutOff(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{
			"fail":   "script = 'x'\n",
			"rerun":  "script = 'x'\non_interrupt = 'rerun'\n",
			"scarce": "script = 'x'\n",
			"gone":   "script = 'x'\n",
		}, func(name string, attempt int) act {
			switch {
			case name == "scarce" && time.Now().Second()%60 < 3:
				return act{err: fmt.Errorf("start: %w", unix.EMFILE)}
			case name == "gone":
				return act{err: errors.New("start: no such program")}
			}
			return act{lasts: time.Second, exit: proc.Exit{SupervisorLost: name != "scarce" && attempt == 1}}
		})
		defer s.strike()
		ids := map[string]string{}
		for _, name := range []string{"fail", "rerun", "scarce", "gone"} {
			ids[name] = s.notify(name).ID
		}
		for name, want := range map[string]string{
			"fail": "interrupted 1", "rerun": "succeeded 2", "scarce": "succeeded 1", "gone": "failed 1",
		} {
			if job := s.await(ids[name]); fmt.Sprint(job.State, " ", job.Attempt) != want {
				t.Errorf("%s: %s after attempt %d, want %s", name, job.State, job.Attempt, want)
			}
		}
	})
}

// A stop asks children to end, and takes no longer than their grace.
func TestStopIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "survive_restart = false\non_interrupt = 'rerun'\nscript = 'x'\n"},
			func(string, int) act { return act{} })
		n := s.notify("op")
		synctest.Wait()
		s.strike()
		if s.after() > 11*time.Second {
			t.Errorf("the stop took %s", s.after())
		}
		if _, err := s.Notify(context.Background(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op"}); err == nil {
			t.Error("accepted after the stop")
		}
		// The next daemon runs it again.
		s = set(t, root, nil, func(_ string, attempt int) act { return act{lasts: time.Second, exit: proc.Exit{Code: attempt - 2}} })
		defer s.strike()
		if job := s.await(n.ID); job.State != ipc.Succeeded || job.Attempt != 2 {
			t.Errorf("%s after attempt %d", job.State, job.Attempt)
		}
	})
}

// A clock that was set back does not make a queue timeout longer or shorter: the
// time since boot counts.
func TestClockSetBack(t *testing.T) {
	h := &host{bootShort: "b"}
	now := proc.Uptime()
	for _, step := range []time.Duration{-24 * time.Hour, 0, 24 * time.Hour} {
		job := &store.Job{CreatedAt: time.Now().Add(step).UnixNano(), Up: int64(now - 5*time.Second), Boot: "b"}
		if w := h.waited(job); w < 5*time.Second || w > time.Minute {
			t.Errorf("clock off by %s: waited %s", step, w)
		}
	}
}
