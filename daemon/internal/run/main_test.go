package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/launch"
	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/shim"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
	"dispatchd/ipc/lockfile"
)

// TestMain lets the test binary be its own supervisor.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "shim" {
		os.Exit(shim.Main())
	}
	os.Exit(m.Run())
}

// users are the accounts of the tests: everybody is this process's user, unless a
// test changes that between two attempts.
type users struct {
	mu sync.Mutex
	is launch.Account
}

func (u *users) Resolve(string, string) (launch.Account, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.is, nil
}

func (u *users) set(a launch.Account) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.is = a
}

// none is a package database without packages.
type none struct{}

func (none) Missing(_ context.Context, want []string) ([]string, error) { return want, nil }

// owner plays the daemon's loop. It writes down what it is told, in order, and
// whether the locks were free by then.
type owner struct {
	mu       sync.Mutex
	told     []string
	children chan Child
	results  chan Result
	refusals chan error
	updates  chan proc.Update
	look     func() string // what each event finds, nil = nothing
}

func newOwner() *owner {
	return &owner{
		children: make(chan Child, 1), results: make(chan Result, 1), refusals: make(chan error, 1), updates: make(chan proc.Update, 100),
	}
}

func (o *owner) note(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.look != nil {
		what += " " + o.look()
	}
	o.told = append(o.told, what)
}

func (o *owner) Started(_ *Attempt, c Child)          { o.note("started"); o.children <- c }
func (o *owner) Progressed(_ *Attempt, u proc.Update) { o.updates <- u }
func (o *owner) NotStarted(_ *Attempt, err error)     { o.note("not started"); o.refusals <- err }
func (o *owner) Ended(_ *Attempt, res Result)         { o.note("ended"); o.results <- res }
func (o *owner) heard(t *testing.T, want ...string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Equal(o.told, want) {
		t.Errorf("the owner was told %q, want %q", o.told, want)
	}
}

// site is a runner with its directories.
type site struct {
	*Runner
	*owner
	t     *testing.T
	root  string
	users *users
}

// newSite makes the directories of a runner. start is its Starter.
func newSite(t *testing.T, start Starter) *site {
	t.Helper()
	// Not t.TempDir: a notify socket's path has to be short.
	root, err := os.MkdirTemp("", "run")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	for _, dir := range []string{"dispatchers", "locks", "jobs", "cache"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	logs, err := store.Open(filepath.Join(root, "state"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = logs.Close() })
	s := &site{t: t, root: root, owner: newOwner(), users: &users{is: launch.Account{Home: "/", Name: "me"}}}
	s.Runner = &Runner{
		Build: &launch.Builder{Settings: dispatchers.DefaultSettings(), Socket: "/sock", BootID: proc.BootID(), Users: s.users, Packages: none{}, Zone: launch.SystemZone},
		Locks: LockDirs{Dispatchers: filepath.Join(root, "dispatchers"), Named: filepath.Join(root, "locks")},
		Logs:  logs, Start: start, Log: slog.New(slog.DiscardHandler),
	}
	return s
}

// spec is a definition with the defaults that matter here.
func spec(script string) *dispatchers.Spec {
	return &dispatchers.Spec{
		Name: "op", Script: script, Concurrency: 1, KillMode: mode.Group, Leftovers: mode.Leave, OnInterrupt: mode.Fail,
		SuccessExitCodes: []int{0}, Umask: dispatchers.DefaultUmask, MaxOutput: dispatchers.DefaultMaxOutput, Exclusive: []string{"disk"},
	}
}

// attempt makes the n-th attempt of a job with these arguments, and takes its
// locks.
func (s *site) attempt(d *dispatchers.Spec, n int, args string) *Attempt {
	s.t.Helper()
	job := &store.Job{ID: ulid.Make(), Dispatcher: d.Name, Origin: ipc.OriginNotify, Arguments: json.RawMessage(args)}
	locks, err := s.TryLocks(d, job.Arguments, lockfile.Holder{Job: job.ID.String(), PID: os.Getpid()})
	if err != nil {
		s.t.Fatal(err)
	}
	files := proc.AttemptFiles(filepath.Join(s.root, "jobs", fmt.Sprintf("%s-%d", job.ID, n)))
	s.t.Cleanup(func() {
		start, _ := files.ReadStart()
		proc.RemainsOf(start).End(func(string) {})
	})
	return New(job, n, d, files, locks)
}

// recorded is a start that is durable already.
func recorded() <-chan error {
	ch := make(chan error, 1)
	ch <- nil
	return ch
}

// holder is who holds the dispatcher's own lock, "free" when nobody does.
func (s *site) holder() string {
	f, err := lockfile.Try(s.Locks.Dispatchers, "op", false, lockfile.Holder{PID: os.Getpid()})
	if err == nil {
		lockfile.Release(f)
		return "free"
	}
	if busy, ok := errors.AsType[*lockfile.BusyError](err); ok {
		return fmt.Sprintf("held by %d", busy.Holder.PID)
	}
	return err.Error()
}

// files are the endings of what is in the run directory.
func (s *site) files() string {
	entries, err := os.ReadDir(filepath.Join(s.root, "jobs"))
	if err != nil {
		s.t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, filepath.Ext(e.Name()))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// unstarted holds that the files of one attempt say that it has not started, and
// removes them.
func (s *site) unstarted() {
	s.t.Helper()
	if got := s.files(); got != ".prepared" {
		s.t.Errorf("files %q", got)
	}
	list, _ := filepath.Glob(filepath.Join(s.root, "jobs", "*"))
	for _, path := range list {
		_ = os.Remove(path)
	}
}

// log is what an attempt's job has printed.
func (s *site) log(a *Attempt) string {
	s.t.Helper()
	f, err := os.Open(s.Logs.LogPath(a.ID))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(f)
	if err != nil {
		s.t.Fatal(err)
	}
	// With -cover the supervisor, which is this program, says at its end that it has
	// no place for what it covered.
	return strings.ReplaceAll(string(text), "warning: GOCOVERDIR not set, no coverage data emitted\n", "")
}

// job is the job of an attempt, as a later daemon reads it from its journal.
func job(a *Attempt) *store.Job {
	return &store.Job{ID: a.ID, Dispatcher: a.Spec.Name, Origin: a.Job.Origin, Arguments: a.Job.Arguments}
}
