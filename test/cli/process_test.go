package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a command that runs beside the script.
type process struct {
	cmd      *exec.Cmd
	out, err *stream
	done     chan struct{}
}

// begin starts a command in a directory.
func begin(dir string, env []string, program string, args ...string) (*process, error) {
	path := program
	if own := filepath.Join(bin, program); exists(own) {
		path = own
	}
	p := &process{cmd: exec.Command(path, args...), out: newStream(), err: newStream(), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Args[0] = program // as a shell would
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		p.out.close()
		p.err.close()
		close(p.done)
	}()
	return p, nil
}

// exists reports whether there is a file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// kill ends it with all that it started: a child that holds its output would
// keep it from ending.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// code waits for the end and gives the exit code.
func (p *process) code() (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(patience):
		return 0, fmt.Errorf("%s has not ended after %s; stdout: %q, stderr: %q", p.cmd.Path, patience, p.out, p.err)
	}
}

// stream collects what a process prints and wakes who waits for it.
type stream struct {
	mu     sync.Mutex
	text   strings.Builder
	closed bool
	change chan struct{} // closed and made anew at each change
}

func newStream() *stream { return &stream{change: make(chan struct{})} }

// Write is io.Writer's.
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake()
	return s.text.Write(b)
}

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.wake()
}

func (s *stream) wake() {
	close(s.change)
	s.change = make(chan struct{})
}

// String is what was printed until now.
func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await returns when what was printed matches; never, is an error.
func (s *stream) await(re *regexp.Regexp) error {
	limit := time.After(patience)
	for {
		s.mu.Lock()
		text, closed, change := s.text.String(), s.closed, s.change
		s.mu.Unlock()
		if re.MatchString(text) {
			return nil
		}
		if closed {
			return fmt.Errorf("it ended without printing %q; it printed %q", re, text)
		}
		select {
		case <-change:
		case <-limit:
			return fmt.Errorf("it has not printed %q after %s; it printed %q", re, patience, text)
		}
	}
}
