package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"dispatchd/daemon/internal/proc"
	"dispatchd/dispatchers"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// The children here are played, in a bubble with a clock of its own.

// played is a child that is none.
type played struct {
	exit       proc.Exit
	supervised bool
	spare      Spare

	once sync.Once
	stop chan struct{}
	done chan struct{}
	left chan struct{}
}

func (p *played) Done() <-chan struct{}       { return p.done }
func (p *played) Exit() proc.Exit             { <-p.done; return p.exit }
func (p *played) Stop() error                 { p.once.Do(func() { close(p.stop) }); return nil }
func (p *played) Signal(syscall.Signal) error { return nil }
func (p *played) Extend(time.Duration) error  { return nil }
func (p *played) Leave()                      { close(p.left) }
func (p *played) Supervised() bool            { return p.supervised }

// leaving is a child that leaves its supervisor for the next one.
type leaving struct{ *played }

func (l leaving) Spare() Spare { return l.spare }

// idle is a spare supervisor; it says what becomes of it.
type idle struct{ discarded bool }

func (i *idle) Discard() { i.discarded = true }

// stage is a site whose children are played: each lasts a minute and ends with
// exit, or cannot be started.
type stage struct {
	*site
	exit       proc.Exit
	err        error
	supervised bool
	spare      *idle // that the child leaves
	asked      []Request
	child      *played
	started    time.Duration // when
	from       time.Time
}

// perform runs a test in a bubble. The site is made outside of it: the store
// locks its directory with a timer.
func perform(t *testing.T, test func(t *testing.T, s *stage)) {
	t.Helper()
	s := &stage{site: newSite(t, nil)}
	s.Start = s.play
	synctest.Test(t, func(t *testing.T) {
		s.from = time.Now()
		test(t, s)
	})
}

func (s *stage) play(q Request) (Child, error) {
	s.asked, s.started = append(s.asked, q), time.Since(s.from)
	if s.err != nil {
		return nil, s.err
	}
	p := &played{exit: s.exit, supervised: s.supervised, stop: make(chan struct{}), done: make(chan struct{}), left: make(chan struct{})}
	p.exit.Started = time.Now()
	go func() {
		select {
		case <-time.After(time.Minute):
		case <-p.stop:
			p.exit.Canceled = true
		case <-p.left:
			return
		}
		p.exit.Ended = time.Now()
		close(p.done)
	}()
	s.child = p
	if s.spare != nil {
		p.spare = s.spare
		return leaving{p}, nil
	}
	return p, nil
}

// Nothing starts before the start is recorded. The locks are held until the end,
// and free when the end is told.
func TestOrder(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		s.look = s.holder
		a := s.attempt(spec("x"), 1, `{"n":1}`)
		recorded := make(chan error, 1)
		over := make(chan struct{})
		go func() { s.Run(t.Context(), a, recorded, s); close(over) }()
		<-time.After(10 * time.Second)
		if s.asked != nil || s.files() != ".args" {
			t.Errorf("before the start is recorded: %d starts, files %s", len(s.asked), s.files())
		}
		recorded <- nil
		<-over
		held := fmt.Sprintf("held by %d", os.Getpid())
		s.heard(t, "started "+held, "ended free")
		if s.started != 10*time.Second || time.Since(s.from) != 70*time.Second {
			t.Errorf("started after %s, over after %s", s.started, time.Since(s.from))
		}
		q := s.asked[0]
		if q.Launch.Job != a.Job.ID || q.Launch.ArgsFile != a.Files.Args() || q.Launch.OutputFile != s.Logs.LogPath(a.ID) || q.Survive {
			t.Errorf("asked for %+v", q)
		}
		state, out := (<-s.results).Judge(a.Spec, Cause{})
		if state != ipc.Succeeded || time.Duration(out.EndedAt-out.StartedAt) != time.Minute {
			t.Errorf("%s, %+v", state, out)
		}
	})
}

// A start that cannot be recorded leaves nothing behind.
func TestNotRecorded(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		s.look = s.holder
		a := s.attempt(spec("x"), 1, `{"n":1}`)
		spare := &idle{}
		a.Spare = spare
		recorded := make(chan error, 1)
		recorded <- errors.New("no space")
		s.Run(t.Context(), a, recorded, s)
		s.heard(t, "not started free")
		if err := <-s.refusals; !errors.Is(err, ErrNotRecorded) || !strings.HasSuffix(err.Error(), "no space") || proc.IsTransient(err) {
			t.Error(err)
		}
		if s.asked != nil || s.files() != "" || !spare.discarded {
			t.Errorf("%d starts, files %q, spare %+v", len(s.asked), s.files(), spare)
		}
	})
}

// What the system is short of is no fault of the job; everything else is its end.
func TestStartFails(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		s.look = s.holder
		for _, short := range []error{syscall.EMFILE, syscall.EAGAIN, syscall.ENOMEM} {
			s.told, s.err = nil, fmt.Errorf("fork: %w", short)
			s.Run(t.Context(), s.attempt(spec("x"), 1, `{"n":1}`), recorded(), s)
			s.heard(t, "not started free")
			if err := <-s.refusals; !errors.Is(err, short) {
				t.Error(err)
			}
			s.unstarted()
		}
		s.told, s.err = nil, errors.New("start: no such program")
		a := s.attempt(spec("x"), 1, `{"n":1}`)
		s.Run(t.Context(), a, recorded(), s)
		s.heard(t, "ended free")
		res := <-s.results
		if state, out := res.Judge(a.Spec, Cause{}); state != ipc.Failed || out.Error.Kind != ipc.KindStartFailed || out.Error.Message != "start: no such program" || out.StartedAt == 0 {
			t.Errorf("%s, %+v", state, out)
		}
		if s.files() != "" {
			t.Errorf("files %q", s.files())
		}
	})
}

// What is wrong with the launch is found before the start and is the job's end,
// once the start is recorded.
func TestPreparationFails(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		packages, command, include := spec("x"), spec(""), spec("x")
		packages.RequiredPackages = []string{"dns"}
		command.Command = []string{"no-such-tool"}
		include.PackageIncludes = []string{"/no/such/file"}
		for kind, d := range map[ipc.Kind]*dispatchers.Spec{
			ipc.KindPackageMissing: packages, ipc.KindStartFailed: command, ipc.KindIncludeMissing: include,
		} {
			s.told = nil
			a, spare := s.attempt(d, 1, `{"n":1}`), &idle{}
			a.Spare = spare
			s.Run(t.Context(), a, recorded(), s)
			s.heard(t, "ended")
			if _, out := (<-s.results).Judge(d, Cause{}); out.Error == nil || out.Error.Kind != kind {
				t.Errorf("%s: %+v", kind, out.Error)
			}
			if s.asked != nil || s.files() != "" || s.holder() != "free" || !spare.discarded {
				t.Errorf("%s: %d starts, files %q, lock %s, spare %+v", kind, len(s.asked), s.files(), s.holder(), spare)
			}
		}
	})
}

// A supervisor that was killed before it began anything is no fault of the job.
func TestSupervisorDiesEarly(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		s.supervised, s.exit = true, proc.Exit{NotStarted: true, Err: syscall.EAGAIN}
		s.Run(t.Context(), s.attempt(spec("x"), 1, `{"n":1}`), recorded(), s)
		s.heard(t, "started", "not started")
		s.unstarted()
	})
}

// When the daemon stops, a supervised child is left, with the locks that its
// supervisor holds, and nothing more is told.
func TestLeave(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		s.supervised = true
		ctx, cancel := context.WithCancel(t.Context())
		a := s.attempt(spec("x"), 1, "")
		over := make(chan struct{})
		go func() { s.Run(ctx, a, recorded(), s); close(over) }()
		synctest.Wait()
		if s.holder() != "free" { // the played supervisor holds nothing
			t.Errorf("our copy of the lock is open: %s", s.holder())
		}
		cancel()
		<-over
		<-s.child.left
		s.heard(t, "started")
	})
}

// A cancel that comes before the child stops it as soon as it is there.
func TestCancelBeforeChild(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		a := s.attempt(spec("x"), 1, "")
		if err := a.Cancel(); err != nil || a.Child() != nil {
			t.Errorf("%v, child %v", err, a.Child())
		}
		go s.Run(t.Context(), a, recorded(), s)
		if err := a.Attach(<-s.children); err != nil {
			t.Error(err)
		}
		res := <-s.results
		if state, _ := res.Judge(a.Spec, Cause{Canceled: a.Canceled()}); state != ipc.Canceled || time.Since(s.from) != 0 {
			t.Errorf("%s after %s", state, time.Since(s.from))
		}
		if a.Child() == nil {
			t.Error("the child is forgotten")
		}
	})
}

// The newest progress counts, and that the timeout is over is news once.
func TestNote(t *testing.T) {
	a := &Attempt{Spec: spec("x")}
	if a.Note(proc.Update{Percent: new(7.0), Message: "seven"}) || *a.Progress().Percent != 7 || a.Late() {
		t.Errorf("%+v", a.Progress())
	}
	if !a.Note(proc.Update{Late: true}) || a.Note(proc.Update{Late: true}) || !a.Late() {
		t.Error("late is not told once")
	}
	if a.Progress().Message != "seven" {
		t.Errorf("%+v", a.Progress())
	}
}

// What outlives the daemon is supervised, and was meant to, or must not be killed.
func TestSurvivesDaemon(t *testing.T) {
	for _, c := range []struct {
		supervised, survive bool
		mode                mode.KillMode
		want                bool
	}{
		{true, true, mode.Group, true},
		{true, false, mode.Tree, false},
		{true, false, mode.None, true},
		{false, true, mode.Group, false},
	} {
		a := &Attempt{Spec: &dispatchers.Spec{SurviveRestart: c.survive, KillMode: c.mode}}
		if a.SurvivesDaemon() {
			t.Error("a child that is not there survives")
		}
		if err := a.Attach(&played{supervised: c.supervised}); err != nil || a.SurvivesDaemon() != c.want {
			t.Errorf("%+v: %t, %v", c, a.SurvivesDaemon(), err)
		}
	}
}

// The supervisor of one attempt can serve the next one.
func TestSpare(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		s.supervised, s.spare = true, &idle{}
		s.Run(t.Context(), s.attempt(spec("x"), 1, ""), recorded(), s)
		spare := (<-s.results).Spare
		if spare != s.spare {
			t.Fatalf("left %v", spare)
		}
		next := s.attempt(spec("x"), 1, "")
		next.Spare = spare
		<-s.children
		s.Run(t.Context(), next, recorded(), s)
		if s.asked[0].Spare != nil || s.asked[1].Spare != spare || s.spare.discarded {
			t.Errorf("asked with %v, then %v", s.asked[0].Spare, s.asked[1].Spare)
		}
	})
}

// keeper is where a cache's data goes.
type keeper struct {
	dir  string
	err  error
	kept []string
}

func (k *keeper) Part(_ *dispatchers.Spec, attempt string) string {
	return filepath.Join(k.dir, attempt)
}

func (k *keeper) Keep(s *dispatchers.Spec, part string, began time.Time) error {
	text, _ := os.ReadFile(part)
	k.kept = append(k.kept, fmt.Sprintf("%s %s %d", s.Name, text, time.Since(began)/time.Second))
	return k.err
}
func (k *keeper) Drop(part string) { k.kept = append(k.kept, "dropped"); _ = os.Remove(part) }

// A successful refresh's data is kept before its end is told; data that is none
// makes it a failure. The data of other ends is dropped. While the child runs, its
// data is bounded.
func TestData(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		k := &keeper{dir: filepath.Join(s.root, "cache")}
		s.Data = k
		s.look = func() string { return strings.Join(k.kept, "; ") }
		d := spec("x")
		d.Cache = &dispatchers.Cache{MaxSize: 4}
		run := func() (*Attempt, chan struct{}) {
			s.told, k.kept = nil, nil
			a, over := s.attempt(d, 1, ""), make(chan struct{})
			go func() { s.Run(t.Context(), a, recorded(), s); close(over) }()
			<-s.children
			if err := os.WriteFile(s.asked[len(s.asked)-1].Launch.DataFile, []byte("[1,2,3]"), 0o600); err != nil {
				t.Fatal(err)
			}
			return a, over
		}
		_, over := run()
		<-over
		s.heard(t, "started ", "ended op [1,2, 60") // a byte more than allowed
		if state, _ := (<-s.results).Judge(d, Cause{}); state != ipc.Succeeded {
			t.Error(state)
		}
		k.err = ipc.Errorf(ipc.KindCacheInvalid, "no data")
		_, over = run()
		<-over
		if state, out := (<-s.results).Judge(d, Cause{}); state != ipc.Failed || out.Error.Kind != ipc.KindCacheInvalid || out.ExitCode != nil {
			t.Errorf("%s, %+v", state, out)
		}
		s.exit = proc.Exit{Code: 3}
		_, over = run()
		<-over
		s.heard(t, "started ", "ended dropped")
		<-s.results
		s.exit = proc.Exit{}
		a, over := run()
		a.child = s.child
		if err := a.Cancel(); err != nil {
			t.Error(err)
		}
		<-over
		s.heard(t, "started ", "ended dropped")
		<-s.results
	})
}

// Without a keeper or without logs, as in the foreground, no file is named.
func TestOwnOutputs(t *testing.T) {
	perform(t, func(t *testing.T, s *stage) {
		s.Logs = nil
		d := spec("x")
		d.Cache = &dispatchers.Cache{MaxSize: 4}
		s.Run(t.Context(), s.attempt(d, 1, ""), recorded(), s)
		if l := s.asked[0].Launch; l.OutputFile != "" || l.DataFile != "" || l.ArgsFile != "" {
			t.Errorf("%+v", l)
		}
		if !slices.Contains(s.asked[0].Launch.Env, "DISPATCHD_ARGS_FILE=/dev/null") {
			t.Errorf("%q", s.asked[0].Launch.Env)
		}
	})
}
