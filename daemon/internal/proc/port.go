package proc

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// platform is what a port to another system must provide. Each GOOS has a type
// host in host_GOOS.go, and the line below makes a missing method a compile
// error. Its methods ask the kernel anew at each call and keep nothing.
type platform interface {
	// startTime tells when a process started, in a unit and from an origin of the
	// system's own that hold for one boot; 0 = no such process, or a zombie.
	startTime(pid int) uint64
	// startNow is what startTime would tell of a process that starts now, and startUnit
	// the unit of both.
	startNow() uint64
	startUnit() time.Duration
	// startedAt reports whether a process started when it was recorded to, by this
	// program or one before.
	startedAt(pid int, recorded uint64) bool
	// groupAlive reports whether a process group has a process that is no zombie.
	groupAlive(pgid int) bool
	// exitDescriptor gives a descriptor that poll(2) finds readable when a child is
	// dead; -1 = this system, or this kernel, has none, and waitDead is for it.
	exitDescriptor(pid int) int
	// isDead reports whether a child is dead, and leaves it to be waited for.
	isDead(pid int) bool
	// waitDead blocks the thread until a child is dead, and leaves it to be waited
	// for, so that its process group's id stays ours until the group is dealt with.
	waitDead(pid int)
	// processes lists every process but this one and the dead.
	processes() []ProcessInfo
	// commandLine tells how a process was started, and as whom.
	commandLine(pid int) (argv, env []string, uid int, ok bool)

	// newTrees gives the ways to follow all descendants of a child, the best first:
	// a start that fails in one, because a sandbox forbids it, is tried in the next.
	newTrees(name string, cgroup bool) []Tree
	// sweepTrees removes what trees of earlier jobs left, those without processes.
	sweepTrees()
	// killTree kills what is left in a tree of which nothing but its path is known, and
	// reports whether nothing was.
	killTree(path string) (empty bool)

	// bootID tells one boot of the machine from another, "" where start times do.
	bootID() string
	// closeInherited keeps the descriptors that this process was born with from its
	// children.
	closeInherited()
	// ignoredSignals lists the signals that this process ignores, and would pass on as
	// ignored.
	ignoredSignals() []syscall.Signal
	// defaultSignal gives a signal that Go does not handle its default.
	defaultSignal(syscall.Signal)
	// unblockSignals empties the signal mask of the calling thread.
	unblockSignals() (restore func())
	// groups are the supplementary groups as setgroups(2) wants them.
	groups(c *Credential) []uint32
	// mayChangeUser reports whether children can run as other users.
	mayChangeUser() bool
	// defaultOOM has the system choose among this process and others, short of memory,
	// as it does by default, where it was told to spare this one.
	defaultOOM()
	// outOfMemory reports whether the system killed a child for want of memory, and the
	// limit that it had, "" = none of its own.
	outOfMemory(child Identity, tree string) (killed bool, limit string)
	// setName gives this process the name that ps and killall show, where it can be
	// changed while it runs.
	setName(name string)
}

var _ platform = host{}

// Uptime is the time since boot, without the time asleep, by CLOCK_MONOTONIC. It
// does not jump when the clock is set.
func Uptime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// BootID is a word for this boot of the machine, "" where there is none.
func BootID() string { return host{}.bootID() }

// SweepTrees removes what the trees of earlier jobs left on this machine.
func SweepTrees() { host{}.sweepTrees() }

// CloseInherited keeps descriptors that the daemon was born with from its
// children.
func CloseInherited() { host{}.closeInherited() }

// MayChangeUser reports whether children can run as other users.
func MayChangeUser() bool { return host{}.mayChangeUser() }

// DefaultOOM takes a supervisor, and with it its job, out of the protection from an end
// for want of memory that its daemon may have: that is for the daemon alone.
func DefaultOOM() { host{}.defaultOOM() }

// SetName gives this process another name, where that can be.
func SetName(name string) { host{}.setName(name) }
