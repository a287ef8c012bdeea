package run

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"dispatchd/dispatchers"
	"dispatchd/ipc/lockfile"
)

// try takes the locks of a definition, for a holder that only has a pid.
func (s *site) try(d *dispatchers.Spec, args string) (*Locks, *BusyError) {
	s.t.Helper()
	l, err := s.TryLocks(d, json.RawMessage(args), lockfile.Holder{PID: os.Getpid()})
	if err == nil {
		return l, nil
	}
	busy, ok := errors.AsType[*BusyError](err)
	if !ok || l != nil {
		s.t.Fatalf("%v, %v", l, err)
	}
	return nil, busy
}

// isFree reports whether a lock file can be taken exclusively.
func isFree(t *testing.T, path string) bool {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// All are taken, or none is, and who holds the one that is missing is named.
func TestAllOrNone(t *testing.T) {
	s := newSite(t, nil)
	d := &dispatchers.Spec{Name: "op", Concurrency: 1, Exclusive: []string{"b:{n}"}, Shared: []string{"a"}}
	l, busy := s.try(d, `{"n":1}`)
	if busy != nil || len(l.files()) != 3 {
		t.Fatalf("%v, %d files", busy, len(l.files()))
	}
	if _, busy := s.try(d, `{"n":2}`); busy == nil || busy.Lock != "dispatcher:op" || busy.PID != os.Getpid() || !busy.Held() {
		t.Errorf("its own lock: %+v", busy)
	}
	other := &dispatchers.Spec{Name: "other", Concurrency: 1, Exclusive: []string{"b:1"}, Shared: []string{"a"}}
	if _, busy := s.try(other, ""); busy == nil || busy.Lock != "b:1" || busy.PID != os.Getpid() {
		t.Errorf("the named one: %+v", busy)
	}
	own := filepath.Join(s.root, "dispatchers", "other.lock")
	if !isFree(t, own) {
		t.Error("what was taken before is still held")
	}
	if text, _ := os.ReadFile(own); len(text) > 0 {
		t.Errorf("and says %q", text)
	}
	l.Release()
	l.Release() // again
	if again, busy := s.try(other, ""); busy != nil {
		t.Error(busy)
	} else {
		again.Release()
	}
}

// A shared lock is shared with others, also a dispatcher's own where it may run
// more than once at a time.
func TestSharedLocks(t *testing.T) {
	s := newSite(t, nil)
	d := &dispatchers.Spec{Name: "op", Concurrency: 2, Shared: []string{"a"}}
	one, busy := s.try(d, "")
	two, also := s.try(d, "")
	if busy != nil || also != nil {
		t.Fatal(busy, also)
	}
	for _, shared := range one.All() {
		if !shared {
			t.Error("an exclusive lock")
		}
	}
	writer := &dispatchers.Spec{Name: "writer", Concurrency: 1, Exclusive: []string{"a"}}
	one.Release()
	if _, busy := s.try(writer, ""); busy == nil || busy.Lock != "a" {
		t.Errorf("one is still there: %+v", busy)
	}
	two.Release()
	if l, busy := s.try(writer, ""); busy != nil {
		t.Error(busy)
	} else {
		l.Release()
	}
}

// Arguments that do not fit the templates any more leave the own lock.
func TestLocksOfOldArguments(t *testing.T) {
	s := newSite(t, nil)
	l, busy := s.try(&dispatchers.Spec{Name: "op", Concurrency: 1, Exclusive: []string{"b:{gone}"}}, `{"n":1}`)
	if busy != nil || len(l.files()) != 1 {
		t.Fatalf("%v, %d locks", busy, len(l.files()))
	}
	l.Release()
}

// A lock file that cannot be opened is no lock that somebody holds.
func TestBrokenLockFile(t *testing.T) {
	s := newSite(t, nil)
	if err := os.Mkdir(filepath.Join(s.root, "locks", "a.lock"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, busy := s.try(&dispatchers.Spec{Name: "op", Concurrency: 1, Exclusive: []string{"a"}}, "")
	if busy == nil || busy.Held() || busy.Lock != "a" || !errors.Is(busy, unix.EISDIR) {
		t.Errorf("%+v", busy)
	}
}

// What a child has inherited stays locked when we close our copies, and names the
// child.
func TestInheritedLocks(t *testing.T) {
	s := newSite(t, nil)
	d := &dispatchers.Spec{Name: "op", Concurrency: 1, Shared: []string{"a"}}
	l, busy := s.try(d, "")
	if busy != nil {
		t.Fatal(busy)
	}
	cmd := exec.Command("cat") // it ends with its input
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = l.files()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l.describe(lockfile.Holder{Job: "J", PID: cmd.Process.Pid})
	l.leave()
	if _, busy := s.try(d, ""); busy == nil || busy.PID != cmd.Process.Pid {
		t.Errorf("inherited: %+v, want process %d", busy, cmd.Process.Pid)
	}
	if text, err := os.ReadFile(filepath.Join(s.root, "locks", "a.lock")); len(text) > 0 {
		t.Errorf("a shared lock says %q, %v", text, err)
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if l, busy := s.try(d, ""); busy != nil {
		t.Error(busy)
	} else {
		l.Release()
	}
}

// No locks at all can be asked for everything.
func TestNoLocks(t *testing.T) {
	var l *Locks
	l.Release()
	l.leave()
	l.describe(lockfile.Holder{})
	if l.files() != nil {
		t.Error("files")
	}
}
