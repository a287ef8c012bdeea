// Command dispatchctl is for people and scripts: it talks to the daemon over
// its socket, by package ipc/client alone. Standard output carries data, standard
// error talk; an error says what, why, and what to do next, and its kind gives
// the exit code (ipc.Kind.ExitCode). Each verb has a file.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/ipc/console"
)

func main() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// app is one run of the command.
type app struct {
	line        []string // the command line as it was typed
	in          io.Reader
	out, err    io.Writer
	socket      string
	json        bool
	quiet       bool
	color       string
	client      *client.Client
	interrupted *ipc.Error // the error of a wait that Ctrl-C ends, nil = nothing was asked for yet
}

// Main runs the command line and returns the exit code. Tests call it.
func Main(args []string, in io.Reader, out, errw io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// An error of parsing is JSON too where --json is set, so the flag is found before parsing.
	a := &app{line: args, in: in, out: out, err: errw, json: asksForJSON(args)}
	cmd := a.root()
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(errw)
	return a.exitCode(ctx, cmd.ExecuteContext(ctx))
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
			a.interrupted = ipc.Errorf(ipc.KindInterrupted, "interrupted before the daemon answered: it is not known whether it did what was asked")
		}
		if console.TerminalWidth(a.err) > 0 {
			fmt.Fprintln(a.err) // the terminal has printed ^C on this line
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
	a.interrupted.Job = id
}

// print gives a value as JSON, one line.
func (a *app) print(v any) error { return json.NewEncoder(a.out).Encode(v) }

// printLines gives each value as JSON, a line each.
func printLines[T any](a *app, list []T) error {
	for _, v := range list {
		if err := a.print(v); err != nil {
			return err
		}
	}
	return nil
}

// printf prints a line of data.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format+"\n", args...) }

// talk prints a line for people, on standard error.
func (a *app) talk(format string, args ...any) {
	if !a.quiet && !a.json {
		fmt.Fprintf(a.err, "dispatchctl: "+format+"\n", args...)
	}
}

// palette is the colours of standard output.
func (a *app) palette() console.Palette { return console.NewPalette(a.color, a.out) }

// table makes an empty table for standard output.
func (a *app) table(head ...any) *console.Table {
	t := &console.Table{Palette: a.palette(), Width: console.TerminalWidth(a.out)}
	t.Row(head...)
	return t
}

// show writes a table.
func (a *app) show(t *console.Table) error {
	_, err := t.WriteTo(a.out)
	return err
}
