package proc

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/output"
	"dispatchd/dispatchers/mode"
)

// Child is a started child and what is enforced on it: its timeout, the stop
// that somebody asked for, the end of what it leaves behind. It waits for
// nothing: its owner, one goroutine at a time, tells it what happened (the
// exported methods), and calls Advance when that says.
//
//	running ──Stop, timeout──▶ ending ──grace over, Kill──▶ killed
//	   │                         │                            │
//	   └──────── Died ───────────┴────────────────────────────┘
//	                             ▼
//	                 clearing (what is left of it) ──▶ over
//
// The process is dead but not waited for from Died to Finish: so long its id and
// its group's are nobody else's.
type Child struct {
	launch   Launch
	pid      int
	identity Identity
	tree     Tree // nil = the group is enough
	kernel   signaler

	phase    phase
	deadline time.Time // of the timeout; zero = none, or told already
	limit    time.Time // how far the child may move that; zero = any time
	graceEnd time.Time // ending, clearing: after this SIGKILL
	look     time.Time // clearing: when to look again who is left
	hurried  bool      // by Kill: what is left has no grace
	late     bool      // the owner is to be told that the timeout is over

	progress int // the read end of descriptor 3
	notify   *notifySocket
	output   *output.Keeper // of what it prints, nil = that is our own output, or a file of its own
	report   report
	exit     Exit
}

// phase is how far a child is.
type phase uint8

const (
	running  phase = iota
	ending         // it was told to end, and has its grace
	killed         // it was sent SIGKILL
	clearing       // it is dead, and what it left behind is being ended
	over           // nothing is left to do but Finish
)

// signaler sends signals. The kernel is one; tests have another.
type signaler interface {
	send(pid int, s syscall.Signal)
	groupAlive(pgid int) bool
}

// kernelSignals are real signals.
type kernelSignals struct{}

func (kernelSignals) send(pid int, s syscall.Signal) { _ = unix.Kill(pid, s) }
func (kernelSignals) groupAlive(pgid int) bool       { return host{}.groupAlive(pgid) }

// sweepPoll is how often the rest of a stopped group is looked at: on Linux one
// look reads all of /proc.
const sweepPoll = 20 * time.Millisecond

// newChild is a child that runs, since now or, after an upgrade in place, already
// for a while; left is what is left of its timeout.
func newChild(l Launch, pid int, left time.Duration) *Child {
	c := &Child{launch: l, pid: pid, kernel: kernelSignals{}, progress: -1}
	now := time.Now()
	if left > 0 {
		c.deadline = now.Add(left)
	}
	if l.TimeoutMax > 0 {
		c.limit = now.Add(l.TimeoutMax)
	}
	return c
}

// Identity names the child for a later daemon.
func (c *Child) Identity() Identity { return c.identity }

// TreePath is a directory by which a later daemon finds what is left of the
// child's tree, "" = none.
func (c *Child) TreePath() string {
	if c.tree == nil {
		return ""
	}
	return c.tree.path()
}

// Stop ends the child: SIGTERM, after the grace SIGKILL. A child of kill_mode
// none runs on.
func (c *Child) Stop(now time.Time) {
	if c.phase == running && !c.launch.KillMode.Never() {
		c.exit.Canceled = true
		c.terminate(now)
	}
}

// Terminate is Stop by a signal to its supervisor, of which nobody else knows.
func (c *Child) Terminate(now time.Time) {
	asked := c.exit.Canceled
	c.Stop(now)
	c.exit.Terminated = c.exit.Terminated || !asked && c.exit.Canceled
}

// Kill ends the child at once, whatever its kill_mode, or the grace of what it
// left behind.
func (c *Child) Kill(now time.Time) {
	c.hurried = true
	switch c.phase {
	case running:
		c.exit.Canceled = true
		c.kill()
	case ending:
		c.kill()
	case clearing:
		c.graceEnd, c.look = now, now
	case killed, over:
	}
}

// Signal sends a signal to the processes that the kill_mode names.
func (c *Child) Signal(s syscall.Signal) error {
	if c.phase >= clearing {
		return os.ErrProcessDone
	}
	c.send(s)
	return nil
}

// Died tells that the child's process is dead, and not waited for. What it left
// running is dealt with: by its kill_mode where it was ended, by leftovers where
// it ended by itself.
func (c *Child) Died(now time.Time) {
	stopped := c.phase != running
	c.phase, c.deadline = over, time.Time{}
	if !stopped && !c.launch.Leftovers.Tracked() || stopped && c.launch.KillMode.Targets() == mode.TargetProcess {
		return
	}
	c.graceEnd = now // it was killed at once, and so is the rest
	if !c.hurried {
		c.graceEnd = now.Add(c.launch.Grace)
	}
	c.phase, c.look = clearing, now
	if stopped {
		return
	}
	c.exit.Ended = now // the job ended here; what it left has no part in its duration
	if c.tree != nil {
		c.tree.signal(syscall.SIGTERM)
	} else {
		c.kernel.send(-c.pid, syscall.SIGTERM)
	}
}

// Advance does what is due, and tells when something will be due again (zero =
// only events matter) and whether everything is over: then Finish is next.
func (c *Child) Advance(now time.Time) (next time.Time, done bool) {
	switch {
	case c.phase == running && !c.deadline.IsZero() && !now.Before(c.deadline):
		c.exit.TimedOut, c.deadline = true, time.Time{}
		if c.launch.KillMode.Never() { // it is told, and let alone
			c.late = true
		} else {
			c.terminate(now)
		}
	case c.phase == ending && !now.Before(c.graceEnd):
		c.kill()
	case c.phase == clearing && !now.Before(c.look):
		c.clear(now)
	}
	switch c.phase {
	case running:
		next = c.deadline
	case ending:
		next = c.graceEnd
	case clearing:
		next = c.look
	case killed, over:
	}
	if at := c.report.due(); !at.IsZero() && (next.IsZero() || at.Before(next)) {
		next = at
	}
	return next, c.phase == over
}

// Update gives what the owner's own owner is to be told now; false = nothing.
func (c *Child) Update(now time.Time) (Update, bool) {
	if c.late {
		c.late = false
		return Update{Late: true}, true
	}
	return c.report.take(now)
}

// terminate asks the child to end.
func (c *Child) terminate(now time.Time) {
	c.phase, c.graceEnd = ending, now.Add(c.launch.Grace)
	c.send(syscall.SIGTERM)
	c.send(syscall.SIGCONT) // a stopped child would not hear it
}

// kill ends the child.
func (c *Child) kill() {
	c.phase = killed
	c.send(syscall.SIGKILL)
}

// send sends a signal to the processes that the kill_mode names.
func (c *Child) send(s syscall.Signal) {
	switch targets := c.launch.KillMode.Targets(); {
	case targets == mode.TargetTree && c.tree != nil:
		c.tree.signal(s)
	case targets == mode.TargetProcess: // of a None job only by Kill and Signal
		c.kernel.send(c.pid, s)
	default:
		c.kernel.send(-c.pid, s)
	}
}

// clear ends what the dead child left behind: it has the grace to go by itself. A
// tree is then killed until it is empty; a group is killed once.
func (c *Child) clear(now time.Time) {
	inGrace := now.Before(c.graceEnd)
	if c.tree == nil {
		if inGrace && c.kernel.groupAlive(c.pid) {
			c.look = Earlier(now.Add(sweepPoll), c.graceEnd)
			return
		}
		c.kernel.send(-c.pid, syscall.SIGKILL)
		c.phase = over
		return
	}
	if c.tree.empty() {
		c.phase = over
		return
	}
	if !inGrace {
		c.tree.signal(syscall.SIGKILL)
	}
	c.look = now.Add(killPoll)
}

// Earlier is the first of two times, of which zero is none.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Finish waits for the dead process, which does not block, reads what it said and
// printed last, and tells how it ended. Only the owner may read descriptor 3 and the
// output beside it, and not any more.
func (c *Child) Finish() Exit {
	status, err := reap(c.pid)
	if c.exit.Ended.IsZero() {
		c.exit.Ended = time.Now()
	}
	c.exit.judge(status, err)
	if c.exit.Signal == "SIGKILL" && !c.exit.Canceled && !c.exit.TimedOut {
		if killed, limit := (host{}).outOfMemory(c.identity, c.TreePath()); killed {
			c.exit.Lost = outOfMemoryText(limit)
		}
	}
	if c.output != nil {
		c.exit.Output = new(c.output.Drain())
	}
	c.readProgress(maxPipe)
	c.report.close()
	c.exit.Result, c.exit.Failure, c.exit.Progress = c.report.result, c.report.failure, c.report.current.Progress()
	if c.tree != nil {
		c.tree.close()
	}
	return c.exit
}

// Descriptors gives the read end of the child's progress pipe and its notify
// socket, -1 = none, for an owner that waits for them itself.
func (c *Child) Descriptors() (progress, notify int) {
	if c.notify == nil {
		return c.progress, -1
	}
	return c.progress, c.notify.fd
}

// Output keeps what the child prints, and, after its end, what it left running. nil:
// nobody does.
func (c *Child) Output() *output.Keeper { return c.output }

// What is read at a time of a child that never stops writing. A pipe holds at most
// maxPipe (fcntl(2), F_SETPIPE_SZ; for root as much as it likes).
const (
	maxPipe      = 1 << 20
	maxRead      = 64 << 10
	maxDatagrams = 64
)

// ReadProgress takes what is in the progress pipe now, without waiting for more.
// False: all its writers are gone.
func (c *Child) ReadProgress() (open bool) { return c.readProgress(maxRead) }

// readProgress is ReadProgress of about so many bytes.
func (c *Child) readProgress(most int) (open bool) {
	if c.progress < 0 {
		return false
	}
	var buf [1024]byte
	for most > 0 {
		n, err := unix.Read(c.progress, buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return errors.Is(err, unix.EAGAIN)
		case n == 0:
			return false
		default:
			c.report.feed(buf[:n])
			most -= n
		}
	}
	return true
}

// ReadNotify takes the datagrams that are in the notify socket now.
func (c *Child) ReadNotify(now time.Time) {
	if c.notify == nil {
		return
	}
	var buf [maxDatagram]byte
	for range maxDatagrams {
		n, err := unix.Read(c.notify.fd, buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return
		default:
			c.heard(now, buf[:n])
		}
	}
}

// heard takes one datagram.
func (c *Child) heard(now time.Time, datagram []byte) {
	u, ok := ParseNotify(string(datagram))
	if !ok {
		return
	}
	if u.ExtendTimeout > 0 {
		c.extendItself(now, u.ExtendTimeout)
		u.Deadline = c.deadline
	}
	c.report.merge(u)
}

// Close gives back the pipe and the socket. The output is its keeper's to close.
func (c *Child) Close() {
	if c.progress >= 0 {
		_ = unix.Close(c.progress)
	}
	c.notify.close()
}
