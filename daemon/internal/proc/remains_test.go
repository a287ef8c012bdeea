package proc

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is a system of processes for tests.
type machine struct {
	procs map[int]ProcessInfo
	sent  []string
	forks map[int]ProcessInfo // by the process that forks when it is stopped
	stuck map[int]int         // kills that a process takes no notice of
	trees int                 // kills until the tree is empty
}

func (m *machine) list() []ProcessInfo { return slices.Collect(maps.Values(m.procs)) }

func (m *machine) signal(i Identity, s syscall.Signal) {
	p, ok := m.procs[i.PID]
	if !ok || p.Start != i.Start {
		return
	}
	m.sent = append(m.sent, fmt.Sprintf("%s %d", map[syscall.Signal]string{syscall.SIGSTOP: "STOP", syscall.SIGKILL: "KILL"}[s], i.PID))
	if child, forks := m.forks[i.PID]; forks && s == syscall.SIGSTOP {
		m.procs[child.PID] = child
		delete(m.forks, i.PID)
	}
	if s == syscall.SIGKILL {
		if m.stuck[i.PID] == 0 {
			delete(m.procs, i.PID)
		} else {
			m.stuck[i.PID]--
		}
	}
}

func (m *machine) killTree(path string) bool {
	if path != "" && m.trees > 0 {
		m.trees--
		return false
	}
	return true
}

// killed are those that were sent a SIGKILL.
func (m *machine) killed() (list []string) {
	for _, s := range m.sent {
		if pid, ok := strings.CutPrefix(s, "KILL "); ok && !slices.Contains(list, pid) {
			list = append(list, pid)
		}
	}
	slices.SortFunc(list, func(a, b string) int {
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return cmp.Compare(x, y)
	})
	return list
}

// remains are what a machine has left of an attempt whose child is process 40.
func remains(m *machine) *Remains {
	r := RemainsOf(StartRecord{Child: &Identity{PID: 40, Start: 1000, Boot: BootID()}, Tree: "/tree"})
	r.sys = m
	return r
}

// What belongs to an attempt is ended, whoever it is now a child of, and nobody else.
func TestRemains(t *testing.T) {
	for _, c := range []struct {
		name  string
		procs []ProcessInfo
		want  string
	}{
		{"nothing", nil, ""},
		{"the child", []ProcessInfo{{40, 1, 40, 40, 1000, "S"}}, "40"},
		{"its session, when it is dead", []ProcessInfo{{41, 1, 40, 40, 1001, "S"}, {42, 1, 42, 40, 1002, "S"}}, "41 42"},
		{"what left the session, of a living parent", []ProcessInfo{{41, 1, 40, 40, 1001, "S"}, {43, 41, 43, 43, 1003, "S"}, {44, 43, 44, 44, 1004, "S"}}, "41 43 44"},
		{"a service of its own session, that init has", []ProcessInfo{{40, 1, 40, 40, 1000, "S"}, {50, 1, 50, 50, 1005, "S"}}, "40"},
		{"its group in another session", []ProcessInfo{{41, 1, 40, 7, 1001, "S"}}, "41"},
		{"a stranger with the child's number", []ProcessInfo{{40, 1, 40, 40, 2000, "S"}, {41, 40, 40, 40, 2001, "S"}}, ""},
		{"one that is older than the child", []ProcessInfo{{41, 1, 41, 40, 999, "S"}}, ""},
		{"a child's number that comes again below it", []ProcessInfo{{41, 1, 40, 40, 1001, "S"}, {45, 41, 45, 45, 500, "S"}}, "41"},
	} {
		m := &machine{procs: map[int]ProcessInfo{}}
		for _, p := range c.procs {
			m.procs[p.PID] = p
		}
		remains(m).End(func(string) { t.Errorf("%s: stuck", c.name) })
		if got := strings.Join(m.killed(), " "); got != c.want {
			t.Errorf("%s: killed %q, want %q", c.name, got, c.want)
		}
	}
}

// Each is stopped before any is killed, so that none forks what is not seen; and what
// was forked meanwhile is found.
func TestRemainsThatFork(t *testing.T) {
	m := &machine{
		procs: map[int]ProcessInfo{40: {40, 1, 40, 40, 1000, "R"}},
		forks: map[int]ProcessInfo{40: {46, 40, 46, 46, 1010, "R"}, 46: {47, 46, 47, 47, 1020, "R"}},
	}
	remains(m).End(func(string) {})
	if got := strings.Join(m.sent, ", "); got != "STOP 40, STOP 46, STOP 47, KILL 40, KILL 46, KILL 47" && len(m.killed()) != 3 {
		t.Error(got)
	}
	last := slices.IndexFunc(m.sent, func(s string) bool { return strings.HasPrefix(s, "STOP 47") })
	first := slices.IndexFunc(m.sent, func(s string) bool { return strings.HasPrefix(s, "KILL") })
	if last < 0 || first < last || len(m.procs) != 0 {
		t.Errorf("%v, left %v", m.sent, m.procs)
	}
}

// Nobody comes next before the last is gone: not the processes, not the tree.
func TestRemainsAreAwaited(t *testing.T) {
	m := &machine{procs: map[int]ProcessInfo{40: {40, 1, 40, 40, 1000, "D"}}, stuck: map[int]int{40: 5}, trees: 8}
	remains(m).End(func(string) {})
	if len(m.procs) != 0 || m.trees != 0 {
		t.Errorf("left %v, tree %d", m.procs, m.trees)
	}
	// What cannot be ended is named.
	m = &machine{procs: map[int]ProcessInfo{40: {40, 1, 40, 40, 1000, "D"}}, stuck: map[int]int{40: 1}}
	if got := remains(m).Kill(); got != "40 (state D)" {
		t.Errorf("left %q", got)
	}
}

// Of another boot, or without a record, there is nothing to be ended.
func TestNoRemains(t *testing.T) {
	m := &machine{procs: map[int]ProcessInfo{40: {40, 1, 40, 40, 1000, "S"}}}
	for _, start := range []StartRecord{
		{},
		{Child: &Identity{PID: 40, Start: 1000, Boot: "another"}},
		{Child: &Identity{PID: 1, Start: 1000, Boot: BootID()}},
		{NeverKill: true},
	} {
		r := RemainsOf(start)
		r.sys = m
		if r.End(func(string) {}); len(m.sent) != 0 || r.Kill() != "" {
			t.Errorf("%+v: %v", start, m.sent)
		}
	}
}

// A process that has a job's id in its environment and is none of it is left alone,
// though it was started by hand or by a job that restarted a service.
func TestStrangerWithJobsEnvironment(t *testing.T) {
	stranger := exec.Command("/bin/sleep", "1000")
	stranger.Env = append(os.Environ(), "DISPATCHD_JOB_ID=01JOB")
	stranger.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })
	l := launch(t, "sleep")
	l.Env = append(l.Env, "DISPATCHD_JOB_ID=01JOB")
	p := start(t, l)
	child := p.Identity()
	RemainsOf(StartRecord{Child: &child}).End(func(string) {})
	if x := p.Exit(); x.Signal != "SIGKILL" {
		t.Errorf("the job: %+v", x)
	}
	if !IdentityOf(stranger.Process.Pid).Alive() {
		t.Error("a stranger was killed for its environment")
	}
}

// A supervisor is found by what it was started as, and nobody else is.
func TestFindSupervisor(t *testing.T) {
	begin := func(setsid bool, env string, argv ...string) int {
		cmd := exec.Command("/bin/sleep")
		cmd.Args, cmd.Env = argv, []string{env}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: setsid}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd.Process.Pid
	}
	job := strconv.Itoa(os.Getpid() + 1_000_000) // sleep wants a number
	begin(true, "OTHER=1", "supervisor", job)
	begin(true, "MARK=1", "someone", job)
	begin(false, "MARK=1", "supervisor", job)
	begin(true, "MARK=1", "supervisor", job+"0")
	if p, found := FindSupervisor("supervisor", "MARK", job); found {
		t.Errorf("process %d is taken for it", p.PID)
	}
	want := begin(true, "MARK=1", "supervisor", job)
	if p, found := FindSupervisor("supervisor", "MARK", job); !found || p.PID != want || !p.Alive() {
		t.Errorf("%+v, %t, want process %d", p, found, want)
	}
}

// A child that nobody has recorded is found by what its daemon said before it forked it,
// or where that is gone too, by when its start was journaled; one that was started at
// another time, leads no session or is another attempt's, is not.
func TestFindUnrecorded(t *testing.T) {
	job := fmt.Sprintf("01JOB%d", os.Getpid())
	f := AttemptFiles("/run/" + job + "-2")
	begin := func(setsid bool, attempt string) int {
		cmd := exec.Command("/bin/sleep", "1000")
		cmd.Env = []string{"DISPATCHD_JOB_ID=" + job, "DISPATCHD_ATTEMPT=" + attempt}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: setsid}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd.Process.Pid
	}
	before, since := host{}.startNow(), time.Now()
	begin(false, "2")
	begin(true, "1")
	if p, found := f.FindUnrecorded(StartRecord{At: before}, since); found {
		t.Errorf("process %d is taken for it", p.PID)
	}
	want := begin(true, "2")
	for name, c := range map[string]struct {
		start StartRecord
		since time.Time
		found bool
	}{
		"said":             {StartRecord{At: before}, time.Time{}, true},
		"journaled":        {StartRecord{}, since, true},
		"an hour earlier":  {StartRecord{}, since.Add(-time.Hour), false},
		"said later":       {StartRecord{At: before + uint64(time.Minute/host{}.startUnit())}, since, false},
		"not known when":   {StartRecord{}, time.Time{}, false},
		"recorded already": {StartRecord{At: before, Child: &Identity{PID: 1}}, since, false},
		"supervised":       {StartRecord{At: before, Supervisor: &Identity{PID: 1}}, since, false},
	} {
		if p, found := f.FindUnrecorded(c.start, c.since); found != c.found || found && p.PID != want {
			t.Errorf("%s: %+v, %t", name, p, found)
		}
	}
}
