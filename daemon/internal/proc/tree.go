package proc

import (
	"syscall"
	"time"
)

// Tree is every process that a job has started, whatever it did to hide: for
// kill_mode tree and leftovers kill. Only a process that does nothing else can
// have one, its supervisor: a daemon would inherit the orphans of all its jobs.
type Tree interface {
	// prepareAttr has the child that is to be started become part of the tree.
	prepareAttr(*syscall.ProcAttr)
	// adopt tells which process the started child is.
	adopt(pid int)
	// path is a directory by which a later daemon finds the tree, "" = none.
	path() string
	// signal reaches each process; SIGKILL also those that fork meanwhile.
	signal(syscall.Signal)
	// empty reports whether no process is alive.
	empty() bool
	// close forgets the tree.
	close()
}

// killPoll is how often a tree that is being ended is looked at.
const killPoll = 3 * time.Millisecond
