// Command dispatch-notify asks the daemon for one run of a dispatcher. It is
// small and starts fast: the standard library without net/http.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/notify"
)

func main() {
	c := &command{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(c.run(os.Args[1:]))
}

// command is one run of the program.
type command struct {
	in       io.Reader
	out, err io.Writer
	options
}

// run does what the command line asks for and gives the exit code.
func (c *command) run(args []string) int {
	if err := c.parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(c.err, usage)
			return ipc.ExitOK
		}
		return c.problem(err)
	}
	n, err := c.notify()
	if err != nil {
		return c.problem(err)
	}
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

// notify sends the notify and reads what became of it.
func (c *command) notify() (ipc.Notified, error) {
	var n ipc.Notified
	conn, err := notify.Dial(c.socket)
	if err != nil {
		return n, ipc.Unreachable(c.socket, err)
	}
	defer func() { _ = conn.Close() }()
	reply, err := notify.Post(conn, c.request)
	if err != nil {
		return n, ipc.Lost(c.socket, true, err)
	}
	if !c.json && reply.Status < 400 && ipc.CheckAPI(reply.API) == nil {
		if n, ok := notify.Plain(reply.Body); ok {
			return n, nil
		}
	}
	return n, read(reply, &n)
}

// read decodes an answer: a value, or an error.
func read(r notify.Reply, v any) error {
	if err := ipc.CheckAPI(r.API); err != nil {
		return err
	}
	if r.Status < 400 {
		if err := json.Unmarshal(r.Body, v); err != nil {
			return fmt.Errorf("the daemon's answer: %w", err)
		}
		return nil
	}
	var p ipc.Error
	if json.Unmarshal(r.Body, &p) != nil || p.Kind == "" {
		return ipc.Errorf(ipc.KindInternal, "the daemon answered with HTTP status %d", r.Status)
	}
	return &p
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
			fmt.Fprintln(c.err) // behind the terminal's ^C
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
		_ = json.NewEncoder(c.out).Encode(job)
	case c.quiet:
	case c.printID:
		fmt.Fprintln(c.err, job.Words())
	default:
		fmt.Fprintln(c.out, job.Words())
	}
	if c.exitStatus && job.ExitCode != nil && *job.ExitCode != 0 {
		return *job.ExitCode
	}
	return job.State.ExitCode()
}

// end asks for the job until it has ended or the wait is over.
func (c *command) end(job *ipc.Job) error {
	if job.State.Final() {
		return nil
	}
	conn, err := notify.Dial(c.socket)
	if err != nil {
		return ipc.Unreachable(c.socket, err)
	}
	defer func() { _ = conn.Close() }()
	reply, err := notify.Await(conn, job.ID, max(0, c.wait))
	if err != nil {
		p := ipc.Lost(c.socket, true, err)
		p.Job, p.Suggestion = job.ID, "job "+job.ID+" is accepted; dispatchctl wait "+job.ID+" waits for it again"
		return p
	}
	if err := read(reply, job); err != nil || job.State.Final() {
		return err
	}
	return ipc.WaitOver(*job, c.wait)
}

// accepted prints the job that the notify made or joined.
func (c *command) accepted(w io.Writer, n ipc.Notified) {
	switch {
	case c.json:
		_ = json.NewEncoder(w).Encode(n)
	case c.printID:
		fmt.Fprintln(w, n.ID)
	case !c.quiet:
		fmt.Fprintln(w, n.Words())
	}
}

// problem prints an error and gives its exit code.
func (c *command) problem(err error) int {
	p, ok := errors.AsType[*ipc.Error](err)
	if !ok {
		p = ipc.Errorf(ipc.KindInternal, "%v", err)
	}
	if c.json {
		_ = json.NewEncoder(c.err).Encode(p)
		return p.Kind.ExitCode()
	}
	for i, line := range p.Lines() {
		if i == 0 {
			fmt.Fprintln(c.err, "dispatch-notify: "+line)
			continue
		}
		fmt.Fprintln(c.err, "  "+line)
	}
	return p.Kind.ExitCode()
}

// forEver is a wait without end.
const forEver time.Duration = -1
