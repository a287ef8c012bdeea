package shim

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"
)

const (
	maxPeers   = 16       // at a time; more wait to be let in
	maxFDs     = 253      // that one message brings (SCM_MAX_FD of Linux)
	maxReplies = 64 << 10 // that wait for a peer to read them: then its requests wait too
)

// peer is one connection of a supervisor: its daemon, or a person with a tool.
// Only its owner, the poll loop, touches it.
type peer struct {
	fd       int
	attached bool // wants to know what the job says
	stale    bool // a word of the job did not get through; the newest follows
	gone     bool
	in       []byte // of a request that is not whole yet
	skip     bool   // the rest of a request that is too long
	out      []byte // replies that the socket did not take
	fds      []int  // descriptors that came with a request
}

// events are those that poll(2) is to wait for. A peer that does not read its
// replies is not read from.
func (p *peer) events() (e int16) {
	if len(p.out) < maxReplies {
		e |= unix.POLLIN
	}
	if len(p.out) > 0 {
		e |= unix.POLLOUT
	}
	return e
}

// read takes what came, and calls handle with each whole line. buf and oob are
// scratch space.
func (p *peer) read(buf, oob []byte, handle func(line []byte)) {
	n, oobn, _, _, err := unix.Recvmsg(p.fd, buf, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	switch {
	case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		return
	case err != nil || n == 0:
		p.gone = true
		return
	}
	p.fds = append(p.fds, receivedFDs(oob[:oobn])...)
	for b := buf[:n]; len(b) > 0 && !p.gone; {
		part, rest, whole := bytes.Cut(b, []byte{'\n'})
		if !p.skip {
			p.in = append(p.in, part...)
		}
		if p.skip = p.skip || len(p.in) > maxRequest; p.skip {
			p.in = p.in[:0]
		}
		b = rest
		if !whole {
			return
		}
		if p.skip {
			p.skip = false
			p.reply(Reply{Error: "request: longer than 4096 bytes"})
			continue
		}
		handle(p.in)
		p.in = p.in[:0]
	}
}

// receivedFDs reads the descriptors in a control message.
func receivedFDs(oob []byte) (fds []int) {
	if len(oob) == 0 {
		return nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		if got, err := unix.ParseUnixRights(&m); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

// takeFDs gives the descriptors that came with the request at hand.
func (p *peer) takeFDs() []int {
	fds := p.fds
	p.fds = nil
	return fds
}

// reply answers a request, with the next flush. What the socket does not take is
// kept: a peer gets every answer that it asked for.
func (p *peer) reply(r Reply) { p.out = appendReply(p.out, r) }

// tell sends a word of the job, unasked. It is dropped while the peer has not read
// what came before, and the newest follows then.
func (p *peer) tell(s *Status) {
	if p.stale = len(p.out) > 0; !p.stale {
		p.reply(Reply{Status: s})
		p.flush()
	}
}

// flush writes what the socket takes.
func (p *peer) flush() {
	for len(p.out) > 0 {
		n, err := unix.SendmsgN(p.fd, p.out, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
			return
		case err != nil:
			p.gone = true
			return
		default:
			p.out = p.out[n:]
		}
	}
	p.out = nil
}

// close ends the connection.
func (p *peer) close() {
	_ = unix.Close(p.fd)
	for _, fd := range p.takeFDs() {
		_ = unix.Close(fd)
	}
}
