package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"dispatchd/daemon/internal/proc"
	"dispatchd/ipc"
)

// box is a daemon with real children.
type box struct {
	*daemon
	t *testing.T
}

// boxed starts one. Its children are its own, without shims.
func boxed(t *testing.T, root string, files map[string]string) *box {
	t.Helper()
	d, first := built(t, root, files, Config{})
	d.start(first)
	return &box{daemon: d, t: t}
}

// close ends the daemon.
func (b *box) close() {
	b.stopRuns()
	var broken error
	b.loop.Stop(func(s *state) { broken = closeJournal(s) })
	if err := errors.Join(broken, b.dir.Close()); err != nil {
		b.t.Error(err)
	}
}

// read asks for a cache's data.
func (b *box) read(q ipc.CacheQuery) (string, ipc.Cache, error) {
	d, err := b.Cache(b.t.Context(), ipc.Peer{}, "op", q)
	if err != nil || d.NotModified {
		return "", d.Cache, err
	}
	defer func() { _ = d.Data.Close() }()
	text, err := io.ReadAll(d.Data)
	return string(text), d.Cache, err
}

// runs counts the jobs that there were.
func (b *box) runs() int {
	b.t.Helper()
	jobs, err := b.Jobs(b.t.Context(), ipc.Peer{}, ipc.JobFilter{Dispatcher: "op", Limit: 100})
	if err != nil {
		b.t.Fatal(err)
	}
	return len(jobs)
}

// A thousand readers of an empty cache, and then of a stale one, have it
// refreshed once, and all have the new data.
func TestOneRefreshForAllReaders(t *testing.T) {
	root := t.TempDir()
	b := boxed(t, root, map[string]string{
		"op": "script = 'echo x >> \"$COUNT\"; read -r _ < \"$GATE\"; printf \"[%s]\" \"$(wc -l < \"$COUNT\")\"'\n[environment]\nCOUNT = '" + root + "/count'\nGATE = '" + root + "/gate'\n[cache]\n",
	})
	defer b.close()
	if err := mkfifo(root + "/gate"); err != nil {
		t.Fatal(err)
	}
	// A reader that waits has asked for the job that refreshes the cache.
	var waiting atomic.Int64
	b.cfg.allow = func(q query) error {
		if q.Job != nil && !q.Job.State.Final() {
			waiting.Add(1)
		}
		return nil
	}
	none := time.Duration(0)
	for round := 1; round <= 2; round++ {
		var all sync.WaitGroup
		var mu sync.Mutex
		got := map[string]int{}
		door := make(chan struct{})
		for range 1000 {
			all.Go(func() {
				<-door
				text, _, err := b.read(ipc.CacheQuery{MaxAge: &none, Wait: time.Minute})
				mu.Lock()
				defer mu.Unlock()
				got[fmt.Sprint(text, err)]++
			})
		}
		close(door)
		// The child goes on when all readers wait for it.
		if err := b.until(t.Context(), func(*state) bool { return waiting.CompareAndSwap(1000, 0) }); err != nil {
			t.Fatal(err)
		}
		if n := b.runs(); n != round {
			t.Fatalf("round %d: %d runs", round, n)
		}
		if err := os.WriteFile(root+"/gate", []byte("go\n"), 0); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if want := fmt.Sprintf("[%d]<nil>", round); got[want] != 1000 || b.runs() != round {
			t.Errorf("round %d: %v, %d runs", round, got, b.runs())
		}
	}
}

// asked is a package database that has nothing, and answers when it may.
type asked struct {
	times atomic.Int32
	may   chan struct{}
}

func (a *asked) Missing(_ context.Context, want []string) ([]string, error) {
	a.times.Add(1)
	<-a.may
	return want, nil
}

// A refresh that is refused is refused once for all readers who want it.
func TestOneRefusalForAllReaders(t *testing.T) {
	b := boxed(t, t.TempDir(), map[string]string{"op": "script = 'x'\nrequired_packages = ['dns']\n[cache]\n"})
	defer b.close()
	packages := &asked{may: make(chan struct{})}
	b.build.Packages = packages
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			_, _, err := b.read(ipc.CacheQuery{Wait: time.Minute})
			if !isKind(err, ipc.KindCacheEmpty) || !strings.Contains(err.Error(), "a refresh was refused: package dns is required") {
				t.Error(err)
			}
		})
	}
	if err := b.until(t.Context(), func(s *state) bool { return len(s.jobs.Dispatcher("op").Wishes) == 100 }); err != nil {
		t.Fatal(err)
	}
	close(packages.may)
	all.Wait()
	if n := packages.times.Load(); n != 1 || b.runs() != 0 {
		t.Errorf("the packages were asked for %d times, %d runs", n, b.runs())
	}
}

// A refresh that fails, is too slow, or prints no data or too much of it leaves
// the old data where it is, and readers are told.
func TestBadRefreshes(t *testing.T) {
	root := t.TempDir()
	b := boxed(t, root, map[string]string{
		"op": "script = '. " + root + "/act'\ntimeout = 1\nkill_grace = 0\n[cache]\nmax_size = '1 MiB'\n",
	})
	defer b.close()
	act := func(script string) ipc.Job {
		t.Helper()
		if err := os.WriteFile(root+"/act", []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
		n, err := b.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op"})
		if err != nil {
			t.Fatal(err)
		}
		job, err := b.Await(t.Context(), ipc.Peer{}, n.ID)
		if err != nil {
			t.Fatal(err)
		}
		return job
	}
	if job := act("echo noise >&2; echo '[1]'"); job.State != ipc.Succeeded {
		t.Fatalf("%+v", job.Error)
	}
	for _, tt := range []struct {
		script string
		kind   ipc.Kind
		says   string
	}{
		{"echo '[2]'; exit 3", ipc.KindExitStatus, "exit status 3"},
		{"echo '[2]'; exec sleep 60", ipc.KindTimeout, "timeout of 1s"},
		{"echo '[2]'; kill -9 $$", ipc.KindSignaled, "SIGKILL"},
		{"printf '[2'", ipc.KindCacheInvalid, "in the middle of a value"},
		{"head -c 3000000 /dev/zero", ipc.KindCacheInvalid, "longer than max_size, which is 1048576"},
		{":", ipc.KindCacheInvalid, "is empty"},
		{"rm -f " + root + "/cache/.op.*; echo '[2]'", ipc.KindInternal, "no such file"},
	} {
		job := act(tt.script)
		if job.Error == nil || job.Error.Kind != tt.kind || !strings.Contains(job.Error.Message, tt.says) {
			t.Errorf("%s: %s %+v", tt.script, job.State, job.Error)
		}
		text, _, err := b.read(ipc.CacheQuery{})
		if text != "[1]\n" || err != nil {
			t.Errorf("%s: the data is now %q, %v", tt.script, text, err)
		}
		none := time.Duration(0)
		text, c, err := b.read(ipc.CacheQuery{MaxAge: &none})
		if text != "[1]\n" || err != nil || c.Fresh || c.Error == nil || c.Error.Job != job.ID || !strings.Contains(c.Error.Message, tt.says) {
			t.Errorf("%s: a reader is told %+v, %q, %v", tt.script, c.Error, text, err)
		}
		if _, _, err := b.read(ipc.CacheQuery{MaxAge: &none, StaleOK: new(false)}); !isKind(err, ipc.KindCacheStale) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.script, err)
		}
		if left, _ := filepath.Glob(root + "/cache/.op.*"); len(left) > 0 {
			t.Errorf("%s: left %v", tt.script, left)
		}
	}
	if job := act("echo '[3]'"); job.State != ipc.Succeeded {
		t.Fatalf("%+v", job.Error)
	}
	if text, c, err := b.read(ipc.CacheQuery{}); text != "[3]\n" || err != nil || !c.Fresh || c.Error != nil {
		t.Errorf("%q, %+v, %v", text, c, err)
	}
}

// The data outlives the daemon, and so does the failure of the last refresh.
func TestCacheOverRestart(t *testing.T) {
	root := t.TempDir()
	files := map[string]string{"op": "script = '. " + root + "/act'\n[cache]\nstale_ok = false\n"}
	none := time.Duration(0)
	b := boxed(t, root, files)
	if _, _, err := b.read(ipc.CacheQuery{Wait: time.Minute}); !isKind(err, ipc.KindCacheEmpty) || !strings.Contains(err.Error(), "exit status") {
		t.Errorf("empty: %v", err)
	}
	if err := os.WriteFile(root+"/act", []byte("echo '[1]'"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.read(ipc.CacheQuery{Wait: time.Minute}); !isKind(err, ipc.KindCacheEmpty) || b.runs() != 1 {
		t.Errorf("it was tried again at once: %v, %d runs", err, b.runs())
	}
	b.close()
	b = boxed(t, root, files)
	if _, c, err := b.read(ipc.CacheQuery{Wait: time.Minute}); !isKind(err, ipc.KindCacheEmpty) || b.runs() != 1 {
		t.Errorf("after a restart: %+v, %v, %d runs", c, err, b.runs())
	}
	if n, err := b.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op"}); err != nil {
		t.Error(err)
	} else if job, err := b.Await(t.Context(), ipc.Peer{}, n.ID); err != nil || job.State != ipc.Succeeded {
		t.Errorf("asked for: %+v, %v", job.Error, err)
	}
	_, first, err := b.read(ipc.CacheQuery{})
	b.close()
	b = boxed(t, root, files)
	defer b.close()
	text, c, rerr := b.read(ipc.CacheQuery{})
	if text != "[1]\n" || err != nil || rerr != nil || c.ETag != first.ETag || !c.RefreshedAt.Equal(*first.RefreshedAt) {
		t.Errorf("%q %+v, then %+v", text, first, c)
	}
	if d, err := b.Cache(t.Context(), ipc.Peer{}, "op", ipc.CacheQuery{IfNoneMatch: `"x", W/` + c.ETag}); err != nil || !d.NotModified || d.Data != nil {
		t.Errorf("not modified: %+v, %v", d, err)
	}
	if text, _, err := b.read(ipc.CacheQuery{MaxAge: &none, Wait: time.Minute}); text != "[1]\n" || err != nil || b.runs() != 3 {
		t.Errorf("asked for new: %q, %v, %d runs", text, err, b.runs())
	}
}

// Readers do not have a failing refresh tried again and again: it is left alone
// for a time that doubles. Whoever asks for a run gets one.
func TestFailingRefreshIsLeftAlone(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "script = 'x'\n[cache]\n"},
			func(string, int) act { return act{lasts: time.Second, exit: proc.Exit{Code: 1}} })
		defer s.strike()
		for range 60 {
			for range 10 {
				if _, err := s.Cache(t.Context(), ipc.Peer{}, "op", ipc.CacheQuery{}); !isKind(err, ipc.KindCacheEmpty) {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			s.pass(time.Second)
		}
		// It ends a second after it began; then 5, 10, 20 s of rest.
		s.started(0, 6*time.Second, 17*time.Second, 38*time.Second)
		s.await(s.notify("op").ID)
		if n := len(s.starts); n != 5 {
			t.Errorf("%d starts", n)
		}
	})
}

// What an attempt wrote that was interrupted is gone when the next one begins.
func TestPartOfInterruptedRefresh(t *testing.T) {
	root := t.TempDir()
	files := map[string]string{"op": "script = 'printf \"[\"; read -r _ < \"$GATE\"; printf \"1]\"'\nsurvive_restart = false\non_interrupt = 'rerun'\n[environment]\nGATE = '" + root + "/gate'\n[cache]\n"}
	if err := mkfifo(root + "/gate"); err != nil {
		t.Fatal(err)
	}
	b := boxed(t, root, files)
	if _, err := b.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op"}); err != nil {
		t.Fatal(err)
	}
	if err := b.until(t.Context(), func(s *state) bool {
		for r := range s.attempts() {
			return r.Child() != nil
		}
		return false
	}); err != nil {
		t.Fatal(err)
	}
	b.close() // it is stopped, and is to run again
	b = boxed(t, root, files)
	defer b.close()
	if err := os.WriteFile(root+"/gate", []byte("go\n"), 0); err != nil { // opens when it is read
		t.Fatal(err)
	}
	if text, _, err := b.read(ipc.CacheQuery{Wait: time.Minute}); text != "[1]" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if left, _ := filepath.Glob(root + "/cache/.op.*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
