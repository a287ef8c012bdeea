// Command dispatchctl is for people and scripts: it talks to the daemon over
// its socket, by package ipc/client alone. Standard output carries data, standard
// error talk; an error says what, why, and what to do next, and its kind gives
// the exit code (ipc.Kind.ExitCode). Each verb has a file.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/ipc/console"
	"dispatchd/ipc/terminal"
)

func main() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// app is one run of the command.
type app struct {
	screen
	line        []string // the command line as it was typed
	in          io.Reader
	socket      string
	timeout     time.Duration // --timeout, 0 = the verb's own
	prompt      bool          // the verb asks how the daemon is
	client      *client.Client
	job         string     // what was asked for
	interrupted *ipc.Error // the error of a wait that Ctrl-C ends, nil = nothing was asked for yet
}

// Main runs the command line and returns the exit code. Tests call it.
func Main(args []string, in io.Reader, out, errw io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Caught, a broken pipe is an error of writing: what is to be undone is undone. It
	// is not ignored, which a command that this one becomes would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	// An error of parsing is JSON too where --json is set, so the flag is found before parsing.
	a := &app{line: args, in: in, screen: screen{out: terminal.NewOutput(out), err: terminal.NewOutput(errw), json: asksForJSON(args)}}
	cmd := a.root()
	cmd.SetArgs(args)
	cmd.SetOut(a.out)
	cmd.SetErr(a.err)
	err := console.Lost(a.out, cmd.ExecuteContext(ctx))
	code := a.exitCode(ctx, err)
	return console.Finish(a.out, a.err, "dispatchctl", a.json, code, a.job)
}

// asksForJSON looks for --json among the flags.
func asksForJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json")
}

// exitCode prints an error and gives its exit code.
func (a *app) exitCode(ctx context.Context, err error) int {
	_, said := errors.AsType[console.Exit](err)
	if err != nil && ctx.Err() != nil && !said {
		if a.interrupted == nil {
			a.interrupted = ipc.Errorf(ipc.KindInterrupted, "interrupted before the daemon answered")
			if a.client != nil && a.client.Unanswered() {
				a.interrupted.Detail += ": it is not known whether it did what was asked"
			}
		}
		if console.TerminalWidth(a.err) > 0 {
			a.complain("") // the terminal has printed ^C on this line
		}
		console.Report(a.err, "dispatchctl", a.json, a.interrupted)
		return ipc.ExitInterrupted
	}
	return console.Report(a.err, "dispatchctl", a.json, err)
}

// onInterrupt sets the error that Ctrl-C gives from now on.
func (a *app) onInterrupt(next, format string, args ...any) {
	a.interrupted = ipc.Errorf(ipc.KindInterrupted, format, args...)
	a.interrupted.Suggestion = next
}

// onInterruptOf makes Ctrl-C say that a job goes on without this command.
func (a *app) onInterruptOf(id string) {
	a.onInterrupt("dispatchctl wait "+id+" waits for it again", "not waiting any longer; job %s goes on", id)
	a.interrupted.Job, a.job = id, id
}
