package run

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// A supervisor holds its job's locks, also when nobody follows it any more, and the
// next daemon takes the attempt over, with its end.
func TestAdopt(t *testing.T) {
	s := newSite(t, Supervised(supervisor()))
	gate, open := s.gate()
	d := spec("echo '50 half' >&3; read -r _ < " + gate + "; exit 4")
	d.SurviveRestart = true
	a := s.attempt(d, 1, "")
	ctx, stop := context.WithCancel(t.Context())
	over := s.begin(ctx, a)
	s.running(a)
	if !a.SurvivesDaemon() {
		t.Error("it does not survive")
	}
	s.says("half")
	pid := a.Child().(supervised).PID()
	if got, want := s.holder(), fmt.Sprintf("held by %d", pid); got != want {
		t.Errorf("its lock: %s, want %s", got, want)
	}
	stop()
	<-over
	s.heard(t, "started")

	again := New(job(a), 1, d, a.Files, nil)
	if s.Adopt(t.Context(), again, s); again.Child() == nil || !again.SurvivesDaemon() {
		t.Fatal("it is not adopted")
	}
	s.says("half") // again, to whom comes later
	open()
	if got := s.verdict(again); got != "failed: exit status 4" {
		t.Error(got)
	}
	if got := s.holder(); got != "free" {
		t.Errorf("its lock: %s", got)
	}
}

// An attempt that was to die with its daemon is stopped by the next one.
func TestAdoptWhatWasToDie(t *testing.T) {
	s := newSite(t, Supervised(supervisor()))
	gate, _ := s.gate()
	d := spec("echo up; read -r _ < " + gate)
	d.KillMode = mode.Tree // needs a supervisor
	a := s.attempt(d, 1, "")
	ctx, stop := context.WithCancel(t.Context())
	over := s.begin(ctx, a)
	s.running(a)
	if a.SurvivesDaemon() {
		t.Error("it survives")
	}
	stop()
	<-over
	again := New(job(a), 1, d, a.Files, nil)
	s.Adopt(t.Context(), again, s)
	if got := s.verdict(again); got != "interrupted: the daemon went down while it ran" {
		t.Error(got)
	}
}

// An attempt that was prepared and no more never began; of one that began without a
// supervisor, or whose files are gone, the end is not known, and it never runs again by
// itself.
func TestAdoptWithoutSupervisor(t *testing.T) {
	s := newSite(t, nil)
	d := spec("true")
	a := s.attempt(d, 1, "")
	if err := a.Files.Prepare(); err != nil {
		t.Fatal(err)
	}
	s.Adopt(t.Context(), a, s)
	if res := <-s.results; !res.NeverBegan() {
		t.Errorf("%+v", res)
	}
	a.locks.Release()
	a.Files.Remove()
	s.Adopt(t.Context(), New(job(a), 1, d, a.Files, nil), s)
	if res := <-s.results; res.NeverBegan() || !res.Exit.SupervisorLost {
		t.Errorf("without files: %+v", res)
	}
	s.Start = Supervised(nil)
	a = s.attempt(d, 1, "")
	<-s.begin(t.Context(), a)
	<-s.children
	<-s.results
	b := New(job(a), 1, d, a.Files, nil)
	s.Adopt(t.Context(), b, s)
	if got := s.verdict(b); got != "interrupted: the daemon went down while it ran, and its end is not known" {
		t.Error(got)
	}
}

// Over an upgrade in place a direct child and its locks go from one owner to the
// next, and its end is told once.
func TestDetachAndResume(t *testing.T) {
	s := newSite(t, Supervised(nil))
	gate, open := s.gate()
	a := s.attempt(spec("echo '7 seven' >&3; read -r _ < "+gate), 1, "")
	ctx, stop := context.WithCancel(t.Context())
	over := s.begin(ctx, a)
	if _, _, _, ok := s.Detach(a, true); ok {
		t.Fatal("detached before there is a child")
	}
	s.running(a)
	s.says("seven")
	h, files, locks, ok := s.Detach(a, true)
	if !ok || len(files) == 0 || len(locks.files()) != 2 {
		t.Fatalf("%t, %d files, %d locks", ok, len(files), len(locks.files()))
	}
	stop()
	<-over
	if got, want := s.holder(), fmt.Sprintf("held by %d", os.Getpid()); got != want {
		t.Errorf("its lock: %s, want %s", got, want)
	}
	var handed Locks
	for f, shared := range locks.All() {
		handed.Add(f, shared)
	}
	b := New(job(a), 1, a.Spec, a.Files, nil)
	if err := s.Resume(t.Context(), b, h, &handed, s); err != nil {
		t.Fatal(err)
	}
	if b.Child() == nil || b.Progress() == nil || b.Progress().Message != "seven" || b.Late() {
		t.Errorf("child %v, progress %+v", b.Child(), b.Progress())
	}
	open()
	if got := s.verdict(b); got != "succeeded" {
		t.Error(got)
	}
	if got := s.holder(); got != "free" {
		t.Errorf("its lock: %s", got)
	}
	s.heard(t, "started", "ended")
	if _, _, _, ok := s.Detach(b, true); ok {
		t.Error("what has ended is detached")
	}
	runtime.KeepAlive(files)
}

// Where the next image does not take output over, a process of its own keeps it, and
// the job prints on; so does one that an image of the release before has started.
func TestDetachForOlderImage(t *testing.T) {
	s := newSite(t, Supervised(nil))
	s.Keepers = [][]string{{"/nonexistent/shim"}, supervisor()}
	gate, open := s.gate()
	a := s.attempt(spec("echo one; echo '7 seven' >&3; read -r _ < "+gate+"; echo two"), 1, "")
	ctx, stop := context.WithCancel(t.Context())
	over := s.begin(ctx, a)
	s.running(a)
	s.says("seven")
	h, files, locks, ok := s.Detach(a, false)
	if !ok || h.Output != nil {
		t.Fatalf("%t, %+v", ok, h.Output)
	}
	stop()
	<-over
	b := New(job(a), 1, a.Spec, a.Files, nil)
	if err := s.Resume(t.Context(), b, h, locks, s); err != nil {
		t.Fatal(err)
	}
	open()
	if got := s.verdict(b); got != "succeeded" {
		t.Error(got)
	}
	for ticker := time.NewTicker(time.Millisecond); s.Logs.LogHeld(b.ID); {
		<-ticker.C
	}
	if got := s.log(b); got != "one\ntwo\n" {
		t.Errorf("%q", got)
	}
	runtime.KeepAlive(files)
}

// What a direct child left running prints on, read by a process of its own, or by
// this one.
func TestLeftByDirectChild(t *testing.T) {
	for name, keepers := range map[string][][]string{"by a keeper": {supervisor()}, "by none": nil, "by one that fails": {{"/nonexistent/shim"}}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, Supervised(nil))
			s.Keepers = keepers
			gate, open := s.gate()
			a := s.attempt(spec("echo one; (read -r _ < "+gate+"; echo two) &"), 1, "")
			over := s.begin(t.Context(), a)
			s.running(a)
			res := <-s.results
			if out := res.Outcome.Output; out != (ipc.Output{Bytes: 4, Open: true}) || res.Outcome.MaxOutput != a.Spec.MaxOutput {
				t.Errorf("%+v", res.Outcome)
			}
			if got := s.holder(); got != "free" {
				t.Errorf("its lock: %s", got)
			}
			<-over
			if !s.Logs.LogHeld(a.ID) {
				t.Error("nobody reads what is left")
			}
			open()
			for ticker := time.NewTicker(time.Millisecond); s.Logs.LogHeld(a.ID); {
				<-ticker.C
			}
			if got := s.log(a); got != "one\ntwo\n" {
				t.Errorf("%q", got)
			}
		})
	}
}

// A row of jobs of one dispatcher has one supervisor, with the locks of each; one
// that needs a tree, and one that is to be a direct child, lets it go.
func TestRow(t *testing.T) {
	s := newSite(t, Supervised(supervisor()))
	d := spec("exit 4")
	d.SurviveRestart = true
	var spare Spare
	var pids []int
	serve := func() Spare {
		a := s.attempt(d, len(pids)+1, "")
		a.Spare = spare
		<-s.begin(t.Context(), a)
		if c, ok := (<-s.children).(supervised); ok {
			pids = append(pids, c.PID())
		}
		res := <-s.results
		if res.Exit.Code != 4 || s.holder() != "free" {
			t.Errorf("%+v, lock %s", res.Exit, s.holder())
		}
		return res.Spare
	}
	for range 3 {
		spare = serve()
	}
	if pids[0] != pids[1] || pids[1] != pids[2] || pids[0] == 0 {
		t.Errorf("processes %d", pids)
	}
	d.KillMode = mode.Tree
	if spare = serve(); pids[3] == pids[0] || spare != nil {
		t.Errorf("processes %d, then %v", pids, spare)
	}
	d.KillMode = mode.Group
	spare = serve()
	d.SurviveRestart = false
	if spare = serve(); len(pids) != 5 || spare != nil {
		t.Errorf("processes %d, then %v", pids, spare)
	}
}
