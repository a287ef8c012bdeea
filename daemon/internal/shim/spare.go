package shim

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
)

// Spare is a supervisor whose job has ended, and that can serve the next job of its
// dispatcher. It holds no lock. Exactly one of Next and Discard is called.
type Spare struct{ link *link }

// ErrNoSpare says that a spare supervisor could not be used, and that nothing was
// started: another one is to be.
var ErrNoSpare = errors.New("the spare supervisor is gone")

// errGone says that a supervisor ended before it answered a next.
var errGone = errors.New("its supervisor ended")

// refusedError is a supervisor's answer that it did not take a next.
type refusedError struct{ reply Reply }

func (e refusedError) Error() string { return e.reply.Error }

// Spare gives the supervisor of a job that has ended; nil = there is none that could
// serve another job. It is called once, after Done, of a client that was to keep it.
func (c *Client) Spare() *Spare {
	l, ok := c.channel.(*link)
	if !ok || !c.keep || !c.isOver() {
		return nil
	}
	l.mu.Lock()
	closed := l.closed || l.client != c
	l.mu.Unlock()
	if closed {
		return nil
	}
	if l.pid == 0 || l.program == (program{}) { // an earlier daemon's: its program may be another
		l.close()
		return nil
	}
	return &Spare{link: l}
}

// Discard lets the supervisor go.
func (s *Spare) Discard() { s.link.close() }

// Next has the supervisor serve another launch, and waits until it counts as started
// or it is known that it does not. ErrNoSpare: nothing was started, and Start is to
// do it. The supervisor holds the locks then: the caller closes its own.
//
// The attempt before must be known to have ended, durably, by then: its files no
// longer belong to anybody.
func (s *Spare) Next(l proc.Launch, locks []*os.File, onUpdate func(proc.Update)) (*Client, error) {
	k := s.link
	if l.NeedsTree() || len(locks) > maxFDs-2 || !k.program.unchanged() {
		k.close()
		return nil, ErrNoSpare
	}
	text, err := record(&l, len(locks))
	if err != nil {
		k.close()
		return nil, err
	}
	b, err := newBirth(l.Files)
	if err != nil {
		k.close()
		return nil, runDirectory(err)
	}
	c := newClient(l.Files, l.Job, onUpdate)
	c.pid, c.channel, c.keep, c.marked = k.pid, k, true, l.Marked
	fds := []int{b.launch, b.listener}
	for _, f := range locks {
		fds = append(fds, int(f.Fd()))
	}
	if err := k.sendNext(c, unix.UnixRights(fds...)); err != nil {
		b.close()
		k.close()
		l.Files.RemoveSupervisor()
		return nil, ErrNoSpare
	}
	go b.give(text) // one that is stopped does not read
	err = k.answer()
	if err == nil {
		return c, nil
	}
	k.close()
	if refused, ok := errors.AsType[refusedError](err); ok {
		c.refused = refusal(refused.reply)
	}
	if c.refused == nil && !l.Files.Started() && (!l.Marked || l.Files.NeverStarted()) {
		l.Files.RemoveSupervisor()
		return nil, ErrNoSpare
	}
	c.gone()
	return c, nil
}

// Bounds of the wait for the answer to a next. A supervisor answers within a
// millisecond; one that somebody has stopped (SIGSTOP) never does.
const (
	answerWait = 2 * time.Second // then it is told to go on
	answerLast = 8 * time.Second // and then, once more, it is killed: it has started nothing, or its end is told as of any that is killed
)

// answer waits for the answer to a next.
func (l *link) answer() error {
	for i, wait := range []time.Duration{answerWait, answerLast} {
		timer := time.NewTimer(wait)
		select {
		case err := <-l.answers:
			timer.Stop()
			return err
		case <-timer.C:
		}
		// It is our child, and not waited for before its end is read: the pid is its own.
		_ = unix.Kill(l.pid, []unix.Signal{unix.SIGCONT, unix.SIGKILL}[i])
	}
	return <-l.answers
}

// sendNext sends a next, whose answer goes to answers.
func (l *link) sendNext(c *Client, oob []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next, l.nextID = c, l.lastID+1
	err := l.sendLocked(oob, Request{Verb: Next})
	if err != nil {
		l.next = nil
	}
	return err
}

// program tells one file of a program from another that has taken its place.
type program struct {
	path     string
	dev, ino uint64
	size     int64
	changed  int64 // content or inode, in nanoseconds
}

// programAt looks at a program's file; the zero value is none.
func programAt(path string) program {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return program{}
	}
	return program{path, uint64(st.Dev), uint64(st.Ino), st.Size, st.Ctim.Nano()}
}

// unchanged reports whether the file is still the one that it was.
func (p program) unchanged() bool { return p == programAt(p.path) }
