package box

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// Process is a program that runs beside the test.
type Process struct {
	Cmd      *exec.Cmd
	Out, Err *Stream
	Took     time.Duration   // from its start until its log said that it is ready
	Ready    <-chan struct{} // closed then
	Dead     <-chan struct{} // closed when it has ended, and Out and Err have all that it printed
}

// Begin starts a program and collects what it prints. It dies with this process,
// also where that is killed, as by go test's own time limit: three daemons of test/crash
// were still there an hour later. Threads of the runtime do not end before it, which
// the kernel would take for the end of the parent (prctl(2), PR_SET_PDEATHSIG).
func Begin(cmd *exec.Cmd) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	p := &Process{Cmd: cmd}
	var err error
	if p.Out, cmd.Stdout, err = newStream(); err != nil {
		return nil, err
	}
	if p.Err, cmd.Stderr, err = newStream(); err != nil {
		p.Out.end()
		return nil, err
	}
	since := time.Now()
	if err := cmd.Start(); err != nil {
		p.Out.end()
		p.Err.end()
		return nil, err
	}
	ready, dead := make(chan struct{}), make(chan struct{})
	p.Ready, p.Dead = ready, dead
	go func() {
		if p.Err.Await(regexp.MustCompile(`\bmsg"?[=:]"?ready\b`)) == nil {
			p.Took = time.Since(since)
			close(ready)
		}
	}()
	go func() {
		_ = cmd.Wait()
		p.Out.end()
		p.Err.end()
		close(dead)
	}()
	return p, nil
}

// Up waits until a daemon is ready. It is an error if it ends instead.
func (p *Process) Up() error {
	select {
	case <-p.Ready:
		return nil
	case <-p.Dead:
	}
	if Over(p.Ready) { // both are closed, and select takes either
		return nil
	}
	return fmt.Errorf("the daemon ended by itself at its start (%v):\n%s", p.Cmd.ProcessState, p.Err)
}

// Code waits for the end and gives the exit code, -1 after a signal.
func (p *Process) Code() int {
	<-p.Dead
	return p.Cmd.ProcessState.ExitCode()
}

// Kill ends it with SIGKILL, as a crash does, and waits. It reports false when
// it had ended by itself.
func (p *Process) Kill() bool {
	ours := p.Cmd.Process.Kill() == nil
	<-p.Dead
	status, ok := p.Cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ours && ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Over reports whether a channel is closed.
func Over(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// Stream is what a process prints, and wakes who waits for a piece of it.
type Stream struct {
	mu     sync.Mutex
	text   []byte
	ended  bool
	change chan struct{} // closed and made anew at each change
	write  *os.File      // our own writing end, until end
}

// newStream makes a stream, and the file that a process writes it to.
func newStream() (*Stream, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	s := &Stream{change: make(chan struct{}), write: w}
	go s.read(r)
	return s, w, nil
}

// mark ends a stream. No program prints it.
func mark() []byte { return []byte("\x00\x00end of a box's stream\x00\x00") }

// end tells the reader that the process has printed all. Whatever else has the
// pipe, a supervisor or a tracer, may live on, so nobody can wait for its end:
// the mark comes behind all that the process wrote.
func (s *Stream) end() {
	_, _ = s.write.Write(mark())
	_ = s.write.Close()
	for ended, change := s.state(); !ended; ended, change = s.state() {
		<-change
	}
}

// read collects what comes until the last writer is gone.
func (s *Stream) read(r *os.File) {
	defer func() { _ = r.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		s.mu.Lock()
		s.text = append(s.text, buf[:n]...)
		if before, after, found := bytes.Cut(s.text, mark()); found {
			s.text, s.ended = append(before[:len(before):len(before)], after...), true
		}
		s.ended = s.ended || err != nil
		close(s.change)
		s.change = make(chan struct{})
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// state tells whether all is read, and what is closed when that changes.
func (s *Stream) state() (ended bool, change <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended, s.change
}

// String is what was printed until now.
func (s *Stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text)
}

// Await returns when what was printed matches. It is an error if the process
// ends first.
func (s *Stream) Await(re *regexp.Regexp) error {
	for {
		s.mu.Lock()
		matches, ended, change := re.Match(s.text), s.ended, s.change
		s.mu.Unlock()
		if matches {
			return nil
		}
		if ended {
			return fmt.Errorf("it ended without printing %q; it printed %q", re, s)
		}
		<-change
	}
}

// Output runs a program to its end and gives its outputs and exit code.
func Output(cmd *exec.Cmd) (stdout, stderr string, code int, err error) {
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	err = cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		return "", "", 0, err
	}
	return out.String(), talk.String(), cmd.ProcessState.ExitCode(), nil
}
