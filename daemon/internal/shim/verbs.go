package shim

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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
	p.flush()
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
	default:
		err = fmt.Errorf("unknown verb %q", r.Verb)
	}
	if err != nil {
		reply.Error, reply.Status = err.Error(), nil
	}
	p.reply(reply)
}

// running is an error once the job has ended.
func (s *supervisor) running() error {
	if s.attempt.ended {
		return os.ErrProcessDone
	}
	return nil
}

// agree gives the highest version that both sides speak. Version 1 is not spoken
// over a socket.
func agree(low, high int) (int, error) {
	if low > Version || high < Version {
		return 0, fmt.Errorf("version: this supervisor speaks %d, not %d to %d", Version, low, high)
	}
	return Version, nil
}
