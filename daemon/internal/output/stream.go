package output

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// bufferSize is the largest buffer that a stream is read with: as much as a pipe
// holds by itself.
const bufferSize = 64 << 10

// Many small writes are read together: without a rest after each small read, the
// reader wakes up for nearly every line. Measured with 2 million lines of 100 bytes,
// processor time of both ends: the child's own file 1.6 s, a pipe without rests 1.8,
// a pipe of 256 KiB with rests of 1 ms 1.2. With rests a pipe of 64 KiB is full too
// early, and the child waits (3.7 s instead of 0.9).
const (
	restTime  = time.Millisecond
	restAfter = 2 * time.Millisecond // two reads in such a time are many
	wideSize  = 256 << 10
)

// sink takes what comes out of a stream.
type sink interface{ Write(p []byte) }

// Stream is a pipe that a job prints to, and where it goes. It belongs to one
// goroutine.
type Stream struct {
	fd   int      // the read end, which does not block; -1 = all writers are gone
	file *os.File // of fd, where the runtime waits for it; nil = a poll loop does
	to   sink
	buf  []byte
	last time.Time // of the last read
	rest time.Time // until then it is better not to read; zero = read at any time
	wide bool      // it holds wideSize
	slow bool      // it could not be made to
}

// firstBuffer is the size of the buffer until a read has filled it: most jobs print
// little.
const firstBuffer = 4 << 10

// Descriptor is the read end, -1 = all writers are gone.
func (s *Stream) Descriptor() int {
	if s == nil {
		return -1
	}
	return s.fd
}

// maxReads bounds what one Copy takes from a job that never stops printing.
const maxReads = 16

// Copy takes what is there, and counts it.
func (s *Stream) Copy() (all int) {
	for range maxReads {
		n, err := s.read()
		if err != nil || n == 0 {
			break
		}
		all += n
		if n < len(s.buf) {
			s.pace()
			break
		}
		s.rest = time.Time{}
		if len(s.buf) < bufferSize {
			s.buf = make([]byte, bufferSize)
		}
	}
	return all
}

// read takes one read. The end of all writers is the stream's.
func (s *Stream) read() (int, error) {
	if s.buf == nil {
		s.buf = make([]byte, firstBuffer)
	}
	for {
		n, err := unix.Read(s.fd, s.buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return 0, err
		case err != nil || n == 0:
			s.over()
			return 0, err
		}
		s.to.Write(s.buf[:n])
		return n, nil
	}
}

// over ends the stream. A file of the runtime's is closed by its reader, who may be
// in a call of it.
func (s *Stream) over() {
	if s.file == nil {
		_ = unix.Close(s.fd)
	}
	s.fd, s.buf = -1, nil
}

// pace decides about a rest after a small read.
func (s *Stream) pace() {
	now := time.Now()
	often := now.Sub(s.last) < restAfter
	s.last, s.rest = now, time.Time{}
	if !often {
		return
	}
	if !s.wide && !s.slow {
		s.wide = widen(s.fd, wideSize)
		s.slow = !s.wide
	}
	if s.wide {
		s.rest = now.Add(restTime)
	}
}

// Drain takes what is in the pipe now: all that was written before. What others
// write meanwhile may stay in it.
func (s *Stream) Drain() {
	if s.Descriptor() < 0 {
		return
	}
	s.rest = time.Time{}
	left, err := waiting(s.fd)
	if err != nil {
		left = wideSize
	}
	for s.fd >= 0 && left >= 0 {
		n, err := s.read()
		if err != nil {
			break
		}
		left -= n
	}
	if s.fd < 0 && s.file != nil {
		_ = s.file.Close()
	}
}

// Watch has the runtime wait for the stream, in a program that has many: Follow and
// Interrupt are for it then.
func (s *Stream) Watch() {
	if s.Descriptor() >= 0 {
		s.file = os.NewFile(uintptr(s.fd), "output")
	}
}

// Follow copies what comes, until the last writer is gone or Interrupt was called.
func (s *Stream) Follow() {
	conn, err := s.file.SyscallConn()
	for err == nil && s.fd >= 0 {
		err = conn.Read(func(uintptr) bool { return s.Copy() > 0 || s.fd < 0 })
		if !s.rest.IsZero() {
			<-time.After(restTime)
		}
	}
	if s.fd < 0 {
		_ = s.file.Close()
	}
}

// Interrupt ends a Follow in another goroutine, which the caller waits for, also one
// that has not begun yet: only Resume lets one go on.
func (s *Stream) Interrupt() {
	if s != nil && s.file != nil {
		_ = s.file.SetReadDeadline(time.Now())
	}
}

// Resume lets Follow go on after an Interrupt.
func (s *Stream) Resume() { _ = s.file.SetReadDeadline(time.Time{}) }

// Close gives our end of the pipe back. Whoever still writes to it is ended by
// SIGPIPE.
func (s *Stream) Close() {
	if s.Descriptor() < 0 {
		return
	}
	s.over()
	if s.file != nil {
		_ = s.file.Close()
	}
}

// Owner is the user whose job writes to a pipe, nil = our own.
type Owner struct{ UID, GID int }

// newPipe makes a pipe that a job prints to. The job, and whoever it becomes, may
// open its end by name (/dev/stderr): open(2) asks the pipe's owner and mode, and to
// come that far a process must have the pipe open already, or may trace one that has.
// Reading is for the job's own user.
func newPipe(o *Owner) (r, w int, err error) {
	if r, w, err = Pipe(); err != nil {
		return -1, -1, err
	}
	// On FreeBSD both fail, and there to open /dev/fd/2 is to duplicate it.
	if o != nil {
		_ = unix.Fchown(w, o.UID, o.GID)
	}
	_ = unix.Fchmod(w, 0o622)
	return r, w, nil
}

// Pipe makes a pipe from a child to us. Our end does not block.
func Pipe() (r, w int, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, os.NewSyscallError("pipe2", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		closeAll(fds[0], fds[1])
		return -1, -1, os.NewSyscallError("fcntl", err)
	}
	return fds[0], fds[1], nil
}
