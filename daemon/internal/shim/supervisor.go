package shim

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/output"
	"dispatchd/daemon/internal/proc"
)

// Env is set in the environment of a supervisor, and of nothing else.
const Env = "DISPATCHD_SHIM"

// Name is what a supervisor is called where people look at processes.
const Name = "dispatchd-shim"

// idleWait bounds how long a supervisor whose job has ended waits for its daemon to
// give it another one, or to let it go. The daemon decides at once, unless it hangs.
const idleWait = 30 * time.Second

// Main is the whole life of a supervisor, and gives its exit code. SIGTERM ends the
// job, as people do it by hand; SIGHUP, SIGINT and SIGQUIT are not for it.
func Main() int {
	if os.Getenv(Env) == "" {
		fmt.Fprintln(os.Stderr, Name+": the daemon starts this program for a job; see dispatchd-shim(8)")
		return 2
	}
	proc.CloseInherited()
	proc.DefaultSignals()
	proc.DefaultOOM()
	signals, err := catchSignals()
	// Pdeathsig means the thread that forks. Whichever it is now, it lives as long as
	// this function.
	runtime.LockOSThread()
	s := &supervisor{signals: signals}
	if err != nil {
		return s.refuse(err)
	}
	text, err := readLaunch(launchFD)
	if err == nil && isKeep(text) {
		return keep(text)
	}
	s.attempt, err = newAttempt(text, err)
	if err != nil {
		return s.refuse(err)
	}
	for !s.over() {
		if err := s.turn(); err != nil {
			return s.fail(err)
		}
	}
	if s.kept != nil {
		s.kept.Run()
	}
	return 0
}

// supervisor is a supervisor at work. Everything of it belongs to its one thread.
type supervisor struct {
	attempt *attempt
	signals int // is readable when there was a signal
	peers   []*peer
	idle    time.Time      // the attempt has ended: until when another one is waited for
	kept    *output.Keeper // of what an attempt left running, where no other process keeps it

	unwritten *proc.Exit // how it ended, where that could not be written down
	retry     time.Time  // when that is tried again

	fds []unix.PollFd // of the turn
	buf []byte        // scratch space of all peers
	oob []byte
}

// start starts the attempt's job, with the umask that it wants, and tells who has
// asked. One that cannot be started has ended.
func (s *supervisor) start() error {
	if l := &s.attempt.launch; l.Umask >= 0 {
		before := unix.Umask(l.Umask)
		defer unix.Umask(before) // the files of the next attempt are made with our own
		l.Umask = -1             // it is set: no shell is needed for it
	}
	now := time.Now()
	err := s.attempt.start(now)
	if failed, ok := errors.AsType[noJobError](err); ok {
		return s.end(proc.Exit{Err: failed.error, Code: proc.StartCode(failed.error), NotStarted: proc.IsTransient(failed.error), Started: now, Ended: now})
	}
	if err != nil {
		return err
	}
	s.attempt.fifo.say(hint{})
	// A daemon that gave this attempt as the next one has its answer by now, and learns
	// here whose end it waits for, should the files go.
	for _, p := range s.peers {
		if p.attached {
			p.reply(Reply{Status: s.attempt.describe(now)})
		}
		p.flush()
	}
	return nil
}

// retryEvery is how often the end of an attempt is written again that could not be
// written, and that nobody was there to be told.
const retryEvery = time.Second

// end writes down how the attempt ended, and tells those who want to know. Where that
// cannot be written, they are told it; and where nobody is there, it is tried again
// until it is known to somebody: so long the locks are held.
func (s *supervisor) end(e proc.Exit) error {
	s.accept() // one that has just come is told too
	err := s.attempt.finish(e)
	status := s.attempt.describe(time.Now())
	if err != nil {
		if !s.attended() {
			s.unwritten, s.retry = &e, time.Now().Add(retryEvery)
			return nil
		}
		status.Outcome = appendOutcome(nil, e)
		s.attempt.free()
	}
	s.unwritten, s.idle = nil, time.Now().Add(idleWait)
	s.passOutput()
	for _, p := range s.peers {
		if s.kept != nil { // it must not be sent a next any more
			_ = unix.Shutdown(p.fd, unix.SHUT_RD)
			p.gone = true
		}
		if p.attached {
			p.reply(Reply{Status: status})
			p.flush()
		}
	}
	return nil
}

// attended reports whether a daemon is there that wants to know the end.
func (s *supervisor) attended() bool {
	return slices.ContainsFunc(s.peers, func(p *peer) bool { return p.attached && !p.gone })
}

// over reports whether there is nothing left to do: the attempt has ended, and no
// daemon is there to give another one.
func (s *supervisor) over() bool {
	if !s.attempt.ended || s.unwritten != nil {
		return false
	}
	return !s.attended() || !time.Now().Before(s.idle)
}

// turn does what is due, waits for what happens, and deals with it.
func (s *supervisor) turn() error {
	next := s.idle
	switch a := s.attempt; {
	case s.unwritten != nil:
		if next = s.retry; s.attended() || !time.Now().Before(next) {
			return s.end(*s.unwritten)
		}
	case a.ended:
	case a.child == nil:
		return s.start()
	default:
		now := time.Now()
		var done bool
		next, done = a.advance(now)
		for {
			u, told := a.child.Update(now)
			if !told {
				break
			}
			s.tell(u)
		}
		if done {
			return s.finish()
		}
	}
	s.wait(next)
	return nil
}

// finish ends an attempt whose child is dead and cleared away.
func (s *supervisor) finish() error {
	e := s.attempt.child.Finish()
	if u, told := s.attempt.child.Update(time.Now()); told {
		s.tell(u)
	}
	return s.end(e)
}

// tell passes on what the job says of itself.
func (s *supervisor) tell(u proc.Update) {
	s.attempt.tell(u)
	s.attempt.fifo.update(u)
	status := s.attempt.describe(time.Now())
	for _, p := range s.peers {
		if p.attached {
			p.tell(status)
		}
	}
}

// Places in fds. The peers come after them.
const (
	pollSignals = iota
	pollDeath
	pollProgress
	pollNotify
	pollOutput
	pollData
	pollListener
	pollPeers
)

// wait waits until something happens, or next, and deals with it. A descriptor
// below 0 is passed over by poll(2).
func (s *supervisor) wait(next time.Time) {
	a := s.attempt
	progress, notify, listener, out := -1, -1, a.listener, [2]int{-1, -1}
	var keeper *output.Keeper
	if !a.ended {
		progress, notify = a.child.Descriptors()
		keeper = a.child.Output()
		var again time.Time
		out, again = keeper.Poll(time.Now())
		next = proc.Earlier(next, again)
	}
	if a.quiet {
		progress = -1
	}
	if len(s.peers) >= maxPeers {
		listener = -1
	}
	s.fds = append(s.fds[:0], waitFor(s.signals), waitFor(a.death), waitFor(progress), waitFor(notify),
		waitFor(out[0]), waitFor(out[1]), waitFor(listener))
	for _, p := range s.peers {
		s.fds = append(s.fds, unix.PollFd{Fd: int32(p.fd), Events: p.events()})
	}
	if n, _ := unix.Poll(s.fds, millis(next)); n <= 0 {
		return // a time has come, or a signal
	}
	now := time.Now()
	if s.happened(pollProgress) {
		a.quiet = !a.child.ReadProgress()
	}
	if s.happened(pollNotify) {
		a.child.ReadNotify(now)
	}
	if s.happened(pollOutput) {
		keeper.Out.Copy()
	}
	if s.happened(pollData) {
		keeper.DataOut.Copy()
	}
	if s.happened(pollDeath) {
		_ = unix.Close(a.death)
		a.death = -1
		a.child.ReadNotify(now) // what it said last
		a.child.Died(now)
	}
	if s.happened(pollSignals) {
		s.signaled(now)
	}
	s.servePeers()
	if s.happened(pollListener) {
		s.accept()
	}
}

// waitFor is a descriptor that is waited for until it can be read.
func waitFor(fd int) unix.PollFd { return unix.PollFd{Fd: int32(fd), Events: unix.POLLIN} }

// happened reports whether a descriptor of the turn can be read, or has an error.
func (s *supervisor) happened(place int) bool { return s.fds[place].Revents != 0 }

// millis is a timeout of poll(2), rounded up: a time that has not quite come would
// be waited for in a circle.
func millis(next time.Time) int {
	if next.IsZero() {
		return -1
	}
	return int(min(max(0, time.Until(next)+time.Millisecond-1), 24*time.Hour) / time.Millisecond)
}

// signaled deals with the signals that came.
func (s *supervisor) signaled(now time.Time) {
	for _, sig := range readSignals(s.signals) {
		switch {
		case sig == syscall.SIGTERM && s.attempt.ended:
			s.idle = now
		case sig == syscall.SIGTERM:
			s.attempt.child.Terminate(now)
		case sig == syscall.SIGUSR1:
			s.attempt.restore()
			s.attempt.fifo.open(s.attempt)
		}
	}
}

// accept lets those in who wait at the socket.
func (s *supervisor) accept() {
	if s.attempt.listener < 0 {
		return
	}
	for len(s.peers) < maxPeers {
		fd, _, err := unix.Accept4(s.attempt.listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return
		}
		p := &peer{fd: fd}
		s.peers = append(s.peers, p)
		s.serve(p) // it has asked already, mostly
	}
}

// servePeers deals with the peers that have something to say, or room for replies.
func (s *supervisor) servePeers() {
	for i, p := range s.peers[:len(s.fds)-pollPeers] {
		events := s.fds[pollPeers+i].Revents
		if p.gone {
			continue
		}
		if events&unix.POLLOUT != 0 {
			p.flush()
			if p.stale && len(p.out) == 0 {
				p.tell(s.attempt.describe(time.Now()))
			}
		}
		if events&^unix.POLLOUT != 0 {
			s.serve(p)
		}
	}
	s.dropGone()
}

// dropGone forgets the peers that have gone.
func (s *supervisor) dropGone() {
	left := s.peers[:0]
	for _, p := range s.peers {
		if p.gone {
			p.close()
		} else {
			left = append(left, p)
		}
	}
	clear(s.peers[len(left):])
	s.peers = left
}

// refuse tells that nothing was started. Without a launch its daemon went down over
// it, and the next one starts the attempt again.
func (s *supervisor) refuse(err error) int {
	if errors.Is(err, errNoLaunch) {
		return 1
	}
	fmt.Fprintln(os.Stderr, Name+": "+err.Error())
	if s.attempt != nil {
		s.attempt.fifo.say(hint{Error: err.Error()})
		s.attempt.ended = true
		s.accept()
		for _, p := range s.peers {
			p.reply(Reply{Error: err.Error(), PutOff: proc.IsTransient(err), Status: &Status{Phase: Refused}})
			p.flush()
		}
	}
	return 1
}

// fail gives up on an attempt whose end cannot be written down.
func (s *supervisor) fail(err error) int {
	fmt.Fprintln(os.Stderr, Name+": "+err.Error())
	return 1
}
