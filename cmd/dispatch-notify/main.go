// Command dispatch-notify asks the daemon for one run of a dispatcher. It is
// small and starts fast: the standard library without net/http.
package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/terminal"
)

func main() {
	// Ignored, a broken pipe is an error of writing; else it would kill the process
	// between the job and the words about it. To catch it would start a goroutine and
	// a thread at every start.
	signal.Ignore(syscall.SIGPIPE)
	c := &command{in: os.Stdin, out: terminal.NewOutput(os.Stdout), err: terminal.NewOutput(os.Stderr)}
	os.Exit(c.finish(c.run(os.Args[1:])))
}

// command is one run of the program.
type command struct {
	in       io.Reader
	out, err *terminal.Output
	job      string // what was asked for
	told     bool   // that the daemon is waited for, and nothing came since
	options
}

// finish closes the outputs. A command that would have ended with 0 ends with
// ipc.ExitInternal if not all of its output could be written.
func (c *command) finish(code int) int {
	err := c.out.Close()
	if err != nil && !errors.Is(err, syscall.EPIPE) { // a reader that has gone wants no words about it
		p := ipc.Errorf(ipc.KindInternal, "standard output could not be written: %v", err)
		p.Suggestion = "only the printing failed; what was asked for was done"
		if c.job != "" {
			p.Job, p.Suggestion = c.job, "job "+c.job+" is accepted all the same: dispatchctl show "+c.job
		}
		c.problem(p)
	}
	if err = errors.Join(err, c.err.Flush()); err != nil && code == ipc.ExitOK {
		return ipc.ExitInternal
	}
	return code
}

// run does what the command line asks for and gives the exit code.
func (c *command) run(args []string) int {
	if err := c.parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			_, _ = io.WriteString(c.out, usage)
			return ipc.ExitOK
		}
		return c.problem(err)
	}
	n, err := c.notify()
	if err != nil {
		return c.problem(err)
	}
	c.job = n.ID
	if c.wait == 0 {
		c.accepted(c.out, n)
		return ipc.ExitOK
	}
	if c.printID {
		c.accepted(c.out, n)
	} else if !c.json {
		c.accepted(c.err, n)
	}
	return c.await(n)
}

// await waits for the job's end and makes it the exit code. Ctrl-C ends the
// wait, not the job.
func (c *command) await(n ipc.Notified) int {
	job := n.Job
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt)
	ended := make(chan error, 1)
	go func() { ended <- c.end(&job) }()
	select {
	case <-interrupt:
		p := ipc.Errorf(ipc.KindInterrupted, "not waiting any longer; job %s goes on", n.ID)
		p.Job, p.Suggestion = n.ID, "dispatchctl wait "+n.ID+" waits for it again"
		if fi, err := os.Stderr.Stat(); err == nil && fi.Mode()&os.ModeCharDevice != 0 {
			_ = terminal.Fprintf(c.err, "\n") // behind the terminal's ^C
		}
		c.problem(p)
		return ipc.ExitInterrupted
	case err := <-ended:
		if err != nil {
			return c.problem(err)
		}
	}
	switch {
	case c.json:
		_ = terminal.EncodeJSON(c.out, job)
	case c.quiet:
	case c.printID:
		_ = terminal.Fprintf(c.err, "%s\n", job.Words())
	default:
		_ = terminal.Fprintf(c.out, "%s\n", job.Words())
	}
	if c.exitStatus {
		return job.ExitStatus()
	}
	return job.State.ExitCode()
}

// accepted prints the job that the notify made or joined.
func (c *command) accepted(w io.Writer, n ipc.Notified) {
	switch {
	case c.json:
		_ = terminal.EncodeJSON(w, n)
	case c.printID:
		_ = terminal.Fprintf(w, "%s\n", n.ID)
	case !c.quiet:
		_ = terminal.Fprintf(w, "%s\n", n.Words())
	}
}

// problem prints an error and gives its exit code.
func (c *command) problem(err error) int {
	p, ok := errors.AsType[*ipc.Error](err)
	if !ok {
		p = ipc.Errorf(ipc.KindInternal, "%v", err)
	}
	if c.json {
		_ = terminal.EncodeJSON(c.err, p)
		return p.Kind.ExitCode()
	}
	for i, line := range p.Lines() {
		prefix := "  "
		if i == 0 {
			prefix = "dispatch-notify: "
		}
		_ = terminal.Fprintf(c.err, "%s%s\n", prefix, line)
	}
	return p.Kind.ExitCode()
}

// forEver is a wait without end.
const forEver time.Duration = -1
