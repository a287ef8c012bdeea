package proc

import (
	"syscall"
	"time"
)

// crowd is every process that a job has started, whatever it did to hide: for
// kill_mode tree and leftovers kill. Only a shim has one.
type crowd interface {
	// join puts the child that is to be started into the crowd.
	join(*syscall.ProcAttr)
	// started tells that it has, and which process it is.
	started(pid int)
	// place is a directory by which a later daemon finds the crowd, "" = none.
	place() string
	// signal reaches each of them; SIGKILL also those that fork meanwhile.
	signal(syscall.Signal)
	// empty reports whether none is alive.
	empty() bool
	// close forgets the crowd.
	close()
}

// clearStep is how often a crowd that is being killed is looked at.
const clearStep = 3 * time.Millisecond

// clearCrowd ends the rest of a crowd: it has the grace to go by itself, then it is
// killed until nobody is left. A closed hurry ends the grace.
func clearCrowd(c crowd, grace time.Duration, hurry <-chan struct{}) {
	tick := time.NewTicker(clearStep)
	defer tick.Stop()
	end := time.Now().Add(grace)
	for !c.empty() && time.Now().Before(end) {
		select {
		case <-tick.C:
		case <-hurry:
			end = time.Now()
		}
	}
	for !c.empty() {
		c.signal(syscall.SIGKILL)
		<-tick.C
	}
}
