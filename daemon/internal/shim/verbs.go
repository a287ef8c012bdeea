package shim

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/daemon/internal/proc"
)

// serve reads what a peer says, and answers it.
func (s *supervisor) serve(p *peer) {
	if s.buf == nil {
		s.buf, s.oob = make([]byte, maxRequest), make([]byte, unix.CmsgSpace(4*maxFDs))
	}
	p.read(s.buf, s.oob, func(line []byte) {
		r, err := parseRequest(line)
		if err != nil {
			p.reply(Reply{Error: "request: " + err.Error()})
			return
		}
		s.answer(p, r)
		for _, fd := range p.takeFDs() { // it brought some that nobody wants
			_ = unix.Close(fd)
		}
	})
	if s.attempt.child != nil || s.attempt.ended {
		p.flush() // else with what becomes of the start
	}
}

// answer does what a request wants.
func (s *supervisor) answer(p *peer, r Request) {
	now := time.Now()
	reply := Reply{ID: r.ID}
	var err error
	switch r.Verb {
	case Hello:
		reply.Version, err = agree(r.Min, r.Max)
		reply.Status = s.attempt.describe(now)
	case Query:
		reply.Status = s.attempt.describe(now)
	case Attach:
		p.attached = true
		reply.Status = s.attempt.describe(now)
	case Signal:
		err = s.running()
		if err == nil {
			err = s.attempt.child.Signal(syscall.Signal(r.Signal))
		}
	case Extend:
		err = s.running()
		if err == nil {
			err = s.attempt.child.Extend(now, r.Extend)
		}
	case Stop:
		if err = s.running(); err == nil && s.attempt.launch.KillMode.Never() {
			err = errors.New("kill_mode none: the job runs on")
		}
		if err == nil {
			s.attempt.child.Stop(now)
		}
	case Next:
		reply.Status, err = s.next(p, now)
	default:
		err = fmt.Errorf("unknown verb %q", r.Verb)
	}
	if err != nil {
		reply.Error, reply.PutOff, reply.Status = err.Error(), proc.IsTransient(err), nil
	}
	p.reply(reply)
}

// running is an error unless there is a process.
func (s *supervisor) running() error {
	switch {
	case s.attempt.ended:
		return os.ErrProcessDone
	case s.attempt.child == nil: // by a request in one breath with the next
		return errors.New("the job has not started yet")
	}
	return nil
}

// next takes the next attempt. The answer says that it counts as started; the job is
// started in the next turn.
func (s *supervisor) next(p *peer, now time.Time) (*Status, error) {
	switch {
	case !s.attempt.ended, s.unwritten != nil:
		return nil, errors.New("next: the job runs")
	case s.attempt.tracked():
		// Whatever it left is among our children, and would be taken for the next one's.
		return nil, errTracked
	}
	a, err := nextAttempt(p.takeFDs())
	if err == nil && a.tracked() {
		err = errTracked
	}
	if err != nil {
		a.close()
		return nil, err
	}
	s.attempt.close()
	for _, other := range s.peers {
		other.gone = other.gone || other != p // they came for the attempt before
	}
	s.attempt, s.idle = a, time.Time{}
	readSignals(s.signals) // one that came before did not mean this job
	s.present()
	return a.describe(now), nil
}

// errTracked refuses a next where descendants have to be told apart.
var errTracked = errors.New("next: a job whose descendants are followed has a supervisor of its own")

// present shows the attempt to those who look at the process, and has complaints go
// to its output.
func (s *supervisor) present() {
	retitle(os.Args[len(os.Args)-1], s.attempt.launch.Job)
	fd, err := unix.Open(s.attempt.launch.OutputFile, unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_ = dup2(fd, 2)
	_ = unix.Close(fd)
}

// agree gives the highest version that both sides speak. Version 1 is not spoken
// over a socket.
func agree(low, high int) (int, error) {
	if low > Version || high < Version {
		return 0, fmt.Errorf("version: this supervisor speaks %d, not %d to %d", Version, low, high)
	}
	return Version, nil
}
