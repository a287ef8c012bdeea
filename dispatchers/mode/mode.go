package mode

// Word is what all types of this package have in common.
type Word[T any] interface {
	~string
	Values() []T
}

// KillMode says which processes get the signals of a timeout and a cancel.
type KillMode string

// The values of KillMode.
const (
	Group   KillMode = "group"   // the child's process group
	Tree    KillMode = "tree"    // all descendants, also those that left the group
	Process KillMode = "process" // the child alone
	None    KillMode = "none"    // no process: a firmware upgrade must not be killed
)

// Values lists the words of kill_mode.
func (KillMode) Values() []KillMode { return []KillMode{Group, Tree, Process, None} }

// Tracked reports whether the daemon must know every descendant of the child:
// a process that made a session of its own has left the group (setsid(2)).
func (m KillMode) Tracked() bool { return m == Tree }

// Never reports whether timeout and cancel leave the job alone: the timeout is
// told, the cancel is refused, the job runs on.
func (m KillMode) Never() bool { return m == None }

// Targets are the processes that a signal is sent to. A None job gets none but
// the SIGKILL of somebody who ends its supervisor by hand, and then its child
// alone: what it started may be half way through a firmware upgrade.
func (m KillMode) Targets() Targets {
	switch m {
	case Tree:
		return TargetTree
	case Process, None:
		return TargetProcess
	}
	return TargetGroup
}

// Targets are the processes that one signal is sent to.
type Targets uint8

// The values of Targets.
const (
	TargetGroup   Targets = iota // kill(2) with the negative id of the group
	TargetTree                   // each descendant
	TargetProcess                // the child
)

// Leftovers says what becomes of processes that a job left running when its
// main process ended by itself.
type Leftovers string

// The values of Leftovers.
const (
	Leave Leftovers = "leave" // operations start daemons
	Kill  Leftovers = "kill"  // SIGTERM, and SIGKILL after kill_grace
)

// Values lists the words of leftovers.
func (Leftovers) Values() []Leftovers { return []Leftovers{Leave, Kill} }

// Tracked reports whether the daemon must know every descendant of the child:
// what is left over may have left the group.
func (l Leftovers) Tracked() bool { return l == Kill }

// OnInterrupt says what becomes of a job whose end is not known, because the
// machine or its supervisor went down while it ran.
type OnInterrupt string

// The values of OnInterrupt.
const (
	Fail  OnInterrupt = "fail"  // the job is interrupted, and never runs again
	Rerun OnInterrupt = "rerun" // the job is queued again as a new attempt
)

// Values lists the words of on_interrupt.
func (OnInterrupt) Values() []OnInterrupt { return []OnInterrupt{Fail, Rerun} }

// StartDurability is the durability of the record of a start, where d is that
// of the job. A Fail job must never run twice, so its start is on disk before
// its child exists. A Rerun job may, so its start saves one sync.
func (o OnInterrupt) StartDurability(d Durability) Durability {
	if o == Rerun && d == Disk {
		return Relaxed
	}
	return d
}

// Overlap says what becomes of a due time that finds a run active.
type Overlap string

// The values of Overlap.
const (
	OverlapQueue Overlap = "queue" // a job is queued behind the run
	OverlapSkip  Overlap = "skip"  // no job is made; the schedule notes why
)

// Values lists the words of overlap.
func (Overlap) Values() []Overlap { return []Overlap{OverlapQueue, OverlapSkip} }

// Durability says when a record of the journal counts as written. A client is
// told that its job is accepted only then.
type Durability string

// The values of Durability.
const (
	Disk    Durability = "disk"    // synced
	Relaxed Durability = "relaxed" // written; synced within a second
	Memory  Durability = "memory"  // not written: a restart forgets the job
)

// Values lists the words of durability.
func (Durability) Values() []Durability { return []Durability{Disk, Relaxed, Memory} }

// JoinedArguments says which arguments a job runs with that notifies with others
// have joined.
type JoinedArguments string

// The values of JoinedArguments.
const (
	Last  JoinedArguments = "last"  // those of the notify that came last
	First JoinedArguments = "first" // those that it was accepted with
)

// Values lists the words of coalesce_arguments.
func (JoinedArguments) Values() []JoinedArguments { return []JoinedArguments{Last, First} }

// Replaced reports whether a notify that joins a job brings its arguments.
func (a JoinedArguments) Replaced() bool { return a != First }
