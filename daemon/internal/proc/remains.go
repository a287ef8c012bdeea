package proc

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Remains are the processes that an attempt has left, whose supervisor or daemon is
// gone. Only what is recorded of the attempt names them: its cgroup, its session and
// process group, and what those have started. Never a variable in an environment:
// every service that the job has restarted has the job's, and so may any stranger.
type Remains struct {
	start StartRecord
	sys   processes
	found map[int]Identity
}

// processes is what Remains need of the system. The kernel is one; tests have another.
type processes interface {
	// list gives every process but this one and the dead, whatever their order.
	list() []ProcessInfo
	signal(Identity, syscall.Signal)
	killTree(path string) (empty bool)
}

// ProcessInfo is what the system says of a process.
type ProcessInfo struct {
	PID, Parent, Group, Session int
	Start                       uint64
	State                       string // a letter, as ps(1) has it
}

// RemainsOf are what is left of an attempt of which this much is recorded. One of
// another boot, or that must never be killed, has left nothing.
func RemainsOf(start StartRecord) *Remains {
	return &Remains{start: start, sys: system{}, found: map[int]Identity{}}
}

// killWait is how often those that were killed are looked at, and slowWait how often
// once they have not gone for a while: the kernel does not let go of them.
const (
	killWait = 3 * time.Millisecond
	slowWait = time.Second
)

// End kills what is left, looks again for what was forked meanwhile, and returns when
// none is left. stuck is told, each time that they change, which processes cannot be
// ended: they wait in the kernel (state D), and whoever comes next must wait for them.
func (r *Remains) End(stuck func(string)) {
	if r.start.NeverKill {
		if r.start.Child != nil {
			r.start.Child.WaitExit()
		}
		return
	}
	told, begun := "", time.Now()
	for {
		left := r.Kill()
		if left == "" {
			return
		}
		wait := killWait
		if time.Since(begun) > slowWait {
			if wait = slowWait; left != told {
				told = left
				stuck(left)
			}
		}
		<-time.After(wait)
	}
}

// Kill kills what is left, once, and names it; "" = nothing was left.
func (r *Remains) Kill() (left string) {
	empty := r.sys.killTree(r.start.Tree)
	c := r.start.Child
	if c == nil || c.PID <= 1 || !c.ofThisBoot() {
		if !empty {
			return "in " + r.start.Tree
		}
		return ""
	}
	alive := r.gather()
	// Stopped, none of them has more children while the others are looked for.
	for stopped := map[int]bool{}; len(stopped) < len(alive); alive = r.gather() {
		for _, p := range alive {
			if !stopped[p.PID] {
				stopped[p.PID] = true
				r.sys.signal(r.found[p.PID], syscall.SIGSTOP)
			}
		}
		if len(stopped) > maxRemains {
			break
		}
	}
	for _, p := range alive {
		r.sys.signal(r.found[p.PID], syscall.SIGKILL)
	}
	if len(alive) == 0 && !empty {
		return "in " + r.start.Tree
	}
	return names(alive)
}

// names words a list of processes, of which the first tell enough.
func names(list []ProcessInfo) string {
	var words []string
	for _, p := range list[:min(len(list), 8)] {
		words = append(words, fmt.Sprintf("%d (state %s)", p.PID, p.State))
	}
	return strings.Join(words, ", ")
}

// maxRemains bounds how many are stopped before they are killed.
const maxRemains = 100_000

// gather finds the living processes of the attempt, and keeps who they are.
func (r *Remains) gather() []ProcessInfo {
	all := r.sys.list()
	r.found = belonging(*r.start.Child, all, r.found)
	var alive []ProcessInfo
	for _, p := range all {
		if id, ok := r.found[p.PID]; ok && id.Start == p.Start {
			alive = append(alive, p)
		}
	}
	return alive
}

// belonging gives those of all processes that are a job's: its child, its session and
// group, what was known of it, and what these have started.
//
// A session's number is not given to a new process while any member lives
// (fork_findpid, alloc_pid), so where another process has the child's number by now,
// no member is left. A member that is older than the child is none of it either.
func belonging(child Identity, all []ProcessInfo, known map[int]Identity) map[int]Identity {
	found := map[int]Identity{}
	maps.Copy(found, known)
	taken := slices.ContainsFunc(all, func(p ProcessInfo) bool { return p.PID == child.PID && p.Start != child.Start })
	add := func(p ProcessInfo) {
		found[p.PID] = Identity{PID: p.PID, Start: p.Start, Boot: child.Boot}
	}
	children := map[int][]ProcessInfo{}
	var todo []ProcessInfo
	for _, p := range all {
		children[p.Parent] = append(children[p.Parent], p)
		old, was := known[p.PID]
		switch {
		case was && old.Start == p.Start:
			todo = append(todo, p)
		case p.PID == child.PID && p.Start == child.Start, !taken && (p.Session == child.PID || p.Group == child.PID) && p.Start >= child.Start:
			add(p)
			todo = append(todo, p)
		}
	}
	for len(todo) > 0 {
		p := todo[0]
		todo = todo[1:]
		for _, c := range children[p.PID] {
			if _, seen := found[c.PID]; !seen && c.Start >= p.Start {
				add(c)
				todo = append(todo, c)
			}
		}
	}
	return found
}

// system is the kernel, as Remains see it.
type system struct{ host }

func (system) list() []ProcessInfo { return host{}.processes() }

func (system) signal(i Identity, s syscall.Signal) {
	if i.PID > 1 && i.PID != os.Getpid() {
		i.Signal(s)
	}
}

// unrecordedWait bounds how long after At a child can have been started that nobody
// recorded: its daemon was killed between the two. It is a second in units of
// Identity.Start at least, and many of them on a machine that is busy.
const (
	unrecordedWait = 10 * time.Second
	startSlack     = 20 * time.Millisecond // the kernel notes a start by a clock that moves with its ticks

	unrecordedSlack = 2 * time.Second
)

// FindUnrecorded finds the child of an attempt whose daemon was killed after it had
// forked the child, and before it had recorded it, or whose record is gone; since is
// when the start was journaled. It leads a session, runs for that job and attempt, and
// started right after its daemon said that it would: all of that, for a variable in an
// environment alone says nothing. False: there is none.
func (f AttemptFiles) FindUnrecorded(start StartRecord, since time.Time) (Identity, bool) {
	if start.Supervisor != nil || start.Child != nil {
		return Identity{}, false
	}
	first, slack := start.At, startSlack
	if first == 0 && !since.IsZero() {
		// By the clock that can be set, whose small corrections are allowed for.
		slack = unrecordedSlack
		first = host{}.startNow() - uint64(max(0, time.Since(since))/host{}.startUnit())
	}
	if first == 0 {
		return Identity{}, false
	}
	job, attempt, _ := strings.Cut(filepath.Base(string(f)), "-")
	early, last := uint64(slack/host{}.startUnit()), first+uint64(unrecordedWait/host{}.startUnit())
	inTime := func(p ProcessInfo) bool { return p.Start+early >= first && p.Start <= last }
	return findLeader(inTime, func(_, env []string, _ int) bool {
		return slices.Contains(env, "DISPATCHD_JOB_ID="+job) && slices.Contains(env, "DISPATCHD_ATTEMPT="+attempt)
	})
}

// FindSupervisor finds the living supervisor of a job by what it was started as: a
// process of our own user with a supervisor's title and variable. False: there is none,
// or the system does not tell.
func FindSupervisor(title, variable, job string) (Identity, bool) {
	return findLeader(nil, func(argv, env []string, uid int) bool {
		return uid == os.Geteuid() && len(argv) >= 2 && argv[0] == title && argv[len(argv)-1] == job &&
			slices.ContainsFunc(env, func(s string) bool { return strings.HasPrefix(s, variable+"=") })
	})
}

// findLeader finds the process that leads a session, may be the one that is looked for
// (nil = each may), and was started as fits says. What is asked for each process costs
// more than the list of all.
func findLeader(may func(ProcessInfo) bool, fits func(argv, env []string, uid int) bool) (Identity, bool) {
	for _, p := range (host{}).processes() {
		if p.Session != p.PID || may != nil && !may(p) {
			continue
		}
		if argv, env, uid, ok := (host{}).commandLine(p.PID); ok && fits(argv, env, uid) {
			return Identity{PID: p.PID, Start: p.Start, Boot: BootID()}, true
		}
	}
	return Identity{}, false
}

// splitWords splits what the system gives of a command line or an environment: a NUL
// ends each word.
func splitWords(text []byte) []string {
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}
