package shim

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
	"dispatchd/ipc"
)

// Client is a job under a supervisor, as its daemon sees it: the one that started
// it, or a later one. The goroutine that reads the channel calls handle and gone;
// the other methods may be called by any.
type Client struct {
	files    proc.AttemptFiles
	job      string
	marked   bool // its daemon marks what has not started
	pid      int  // of the supervisor, 0 = an earlier daemon started it
	onUpdate func(proc.Update)
	done     chan struct{}
	exit     proc.Exit // set before done is closed

	told    ipc.Progress // of the reader: what onUpdate was told
	late    bool
	until   time.Time        // of its timeout, as it was told last
	refused error            // why the supervisor started nothing
	seen    bool             // it has been started, whatever its files say
	start   proc.StartRecord // what the supervisor has told of it

	since    time.Time      // when the start was journaled, of an attempt that was adopted
	recorded *proc.Identity // the supervisor, as it was recorded when the attempt was adopted

	mu      sync.Mutex
	channel channel
	keep    bool // its supervisor stays for a next job: Spare is called after Done
	left    bool // nobody here wants to know the end
	ended   bool
}

// channel is the way to a supervisor: a socket, or in version 1 a FIFO and signals.
type channel interface {
	// send sends requests, and does not wait for the replies.
	send(...Request) error
	// close ends the connection: the supervisor goes on, or if its job has ended, goes.
	close()
}

// newClient makes the client of an attempt.
func newClient(f proc.AttemptFiles, job string, onUpdate func(proc.Update)) *Client {
	return &Client{files: f, job: job, onUpdate: onUpdate, done: make(chan struct{})}
}

// Done is closed when the job has ended, its locks are free, and everything about it
// is known.
func (c *Client) Done() <-chan struct{} { return c.done }

// Exit is how the job ended. It waits for the end.
func (c *Client) Exit() proc.Exit { <-c.done; return c.exit }

// PID is the supervisor's process, 0 where an earlier daemon started it.
func (c *Client) PID() int { return c.pid }

// Stop has the job ended as its kill_mode says. It does not wait. A supervisor that
// cannot be asked is told by SIGTERM.
func (c *Client) Stop() error {
	err := c.send(Request{Verb: Stop})
	if err == nil || errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	switch supervisor := c.supervisor(); {
	case supervisor != nil:
		supervisor.Signal(syscall.SIGTERM)
	case c.pid != 0: // its files are gone, and it is our child, not waited for as long as it is not over
		_ = unix.Kill(c.pid, unix.SIGTERM)
	default:
		return err
	}
	return nil
}

// Signal has a signal sent to the processes that the kill_mode names. It does not
// wait: a job that ends meanwhile is not signalled.
func (c *Client) Signal(s syscall.Signal) error {
	return c.send(Request{Verb: Signal, Signal: int(s)})
}

// Extend gives the job that much time from now, where it has a timeout. It does not
// wait.
func (c *Client) Extend(more time.Duration) error {
	return c.send(Request{Verb: Extend, Extend: more})
}

// Leave ends the watch over a job that goes on without us: a daemon stops. Done is
// never closed then.
func (c *Client) Leave() {
	c.mu.Lock()
	over := c.ended // then its channel may be a next one's
	c.left = true
	c.mu.Unlock()
	if !over {
		c.way().close()
	}
}

// isLeft reports whether nobody here wants to know the end any more.
func (c *Client) isLeft() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left
}

// isOver reports whether the end is known.
func (c *Client) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// send sends a request, while the job runs.
func (c *Client) send(r Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.left {
		return os.ErrProcessDone
	}
	return c.channel.send(r)
}

// handle takes a reply of the supervisor.
func (c *Client) handle(r Reply) {
	s := r.Status
	if s == nil {
		return // what it does not do is seen in what happens to the job
	}
	if p := s.Progress; p != nil && !sameProgress(*p, c.told) {
		c.told = *p
		c.onUpdate(proc.Update{Percent: p.Percent, Message: p.Message})
	}
	c.timeoutMoved(s.Left)
	if s.Late && !c.late {
		c.late = true
		c.onUpdate(proc.Update{Late: true})
	}
	switch s.Phase {
	case Refused:
		c.refused = refusal(r)
	case Ended:
		// Without an outcome that can be read, the end of the supervisor says more.
		e, ok := readOutcome(c.files)
		if !ok {
			e, ok = parseOutcome(s.Outcome)
		}
		if ok {
			c.end(e)
			if !c.keep {
				c.way().close()
			}
		}
	case Running:
		c.seen = true
		if s.Child != nil {
			c.start.Child, c.start.Tree, c.start.NeverKill = s.Child, s.Tree, s.NeverKill
		}
	}
}

// timeoutMoved tells of a timeout that ends at another time than was told. That of an
// attempt that was started just now is known.
func (c *Client) timeoutMoved(left time.Duration) {
	const jitter = time.Second // of messages on their way
	until := time.Now().Add(left)
	if left == 0 || until.Sub(c.until).Abs() < jitter {
		return
	}
	known := c.until.IsZero() && c.pid != 0
	if c.until = until; !known {
		c.onUpdate(proc.Update{Deadline: until})
	}
}

// refusal is why a supervisor has started nothing. One of another release that cannot
// read the launch is a program that was replaced while the daemon of this one runs.
func refusal(r Reply) error {
	err := fmt.Errorf("shim: %s", r.Error)
	if r.PutOff || r.Error == errRecord.Error() {
		return proc.Own(err)
	}
	return err
}

// way is the channel to the supervisor now.
func (c *Client) way() channel {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.channel
}

// setWay changes the channel.
func (c *Client) setWay(to channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.channel = to
}

// supervisor is the supervisor's process, as far as it is recorded.
func (c *Client) supervisor() *proc.Identity {
	if start, ok := c.files.ReadStart(); ok && start.Supervisor != nil {
		return start.Supervisor
	}
	return c.recorded
}

// sameProgress reports whether two progresses say the same.
func sameProgress(a, b ipc.Progress) bool {
	if a.Message != b.Message || (a.Percent == nil) != (b.Percent == nil) {
		return false
	}
	return a.Percent == nil || *a.Percent == *b.Percent
}

// gone tells that the supervisor is no more, and with it its hold on the locks. What
// is left of the job is ended first: until then the attempt is not over.
func (c *Client) gone() {
	if c.isOver() {
		return // its files may be gone as well
	}
	if e, ok := readOutcome(c.files); ok {
		c.end(e)
		return
	}
	now := time.Now()
	e := proc.Exit{Started: now, Ended: now}
	start, started := c.files.ReadStart()
	switch {
	case started || c.seen:
	case c.refused != nil:
		e.NotStarted, e.Err = true, c.refused
	case c.pid != 0 && !c.marked, c.files.NeverStarted():
		if e.NotStarted = true; c.pid != 0 {
			e.Err = proc.ErrSupervisorDied
		}
	}
	if !e.NotStarted {
		// What was told is what the file said, should that be gone or cut.
		if start.Child == nil && c.start.Child != nil {
			start = c.start
		}
		if child, found := c.files.FindUnrecorded(start, c.since); found {
			start.Child = &child
		}
		proc.RemainsOf(start).End(func(left string) {
			c.onUpdate(proc.Update{Message: "its supervisor was killed, and its end waits for processes that cannot be ended: " + left})
		})
		e.Ended, e.SupervisorLost, e.Lost = time.Now(), true, c.lost(started)
	}
	c.end(e)
}

// lost says why the end of an attempt is not known.
func (c *Client) lost(started bool) string {
	switch {
	case c.pid != 0 || c.supervisor() != nil:
		return "its supervisor was killed while it ran, and its end is not known"
	case started:
		return "the daemon went down while it ran, and its end is not known"
	}
	return "the daemon went down while it ran, its files in the run directory are gone, and its end is not known"
}

// end closes done, once, unless nobody wants to know.
func (c *Client) end(e proc.Exit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.left {
		return
	}
	c.ended, c.exit = true, e
	close(c.done)
}
