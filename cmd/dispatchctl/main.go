// Command dispatchctl is for people and scripts: it talks to the daemon over
// its socket. stdout is data, stderr is talk; errors say what, why, and what to
// do next. It talks only through package ipc and its clients.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
)

func main() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// app is one run of the command.
type app struct {
	in       io.Reader
	out, err io.Writer
	socket   string
	json     bool
	quiet    bool
	color    string
	client   *client.Client
}

// exit carries an exit code through cobra; what is to be said has been said.
type exit int

// Error makes an exit code an error.
func (e exit) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// usageError is a wrong command line.
type usageError struct{ error }

// Main runs the command line and returns the exit code. Tests call it.
func Main(args []string, in io.Reader, out, errw io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{in: in, out: out, err: errw}
	cmd := a.root()
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(errw)
	return a.exitCode(ctx, cmd.ExecuteContext(ctx))
}

// exitCode says what went wrong and gives the code for it.
func (a *app) exitCode(ctx context.Context, err error) int {
	if err == nil {
		return ipc.ExitOK
	}
	if code, ok := errors.AsType[exit](err); ok {
		return int(code)
	}
	if ctx.Err() != nil {
		fmt.Fprintln(a.err, "\ndispatchctl: not waiting any longer; the job goes on")
		return ipc.ExitInterrupted
	}
	if p, ok := errors.AsType[*ipc.Error](err); ok {
		return a.problem(p)
	}
	fmt.Fprintln(a.err, "dispatchctl: "+err.Error())
	if _, ok := errors.AsType[usageError](err); ok {
		return ipc.ExitUsage
	}
	return ipc.ExitInternal
}

// problem prints a typed error: what and why, then what to do next.
func (a *app) problem(p *ipc.Error) int {
	if a.json {
		_ = json.NewEncoder(a.err).Encode(p)
		return p.Kind.ExitCode()
	}
	fmt.Fprintln(a.err, "dispatchctl: "+p.Detail)
	if p.Suggestion != "" {
		fmt.Fprintln(a.err, "  "+p.Suggestion)
	}
	if p.RetryAfter > 0 {
		fmt.Fprintf(a.err, "  try again in %d s\n", p.RetryAfter)
	}
	return p.Kind.ExitCode()
}

// version is what this program says of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

// root is the command with its verbs.
func (a *app) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "dispatchctl",
		Short:         "Asks dispatchd for runs, and shows what happened",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
		PersistentPreRunE: func(*cobra.Command, []string) error {
			switch a.color {
			case "auto", "always", "never":
			default:
				return usageError{fmt.Errorf("--color=%s: use auto, always or never", a.color)}
			}
			a.client = &client.Client{Socket: ipc.FindSocket(a.socket)}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("no command is named %q; see: dispatchctl --help", args[0])}
			}
			return cmd.Help()
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := cmd.PersistentFlags()
	f.StringVar(&a.socket, "socket", "", "the daemon's socket `PATH` (default $DISPATCHD_SOCKET, then the platform's)")
	f.BoolVar(&a.json, "json", false, "print JSON, one object a line for streams")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no talk")
	f.StringVar(&a.color, "color", "auto", "auto, always or never")
	cmd.AddCommand(a.notify(), a.run(false), a.run(true), a.status(), a.list(), a.show(), a.jobs(), a.log(), a.wait(),
		a.cancel(), a.retry(), a.pause(true), a.pause(false), a.drain(), a.undrain(), a.reload(), a.upgrade(), a.lock(), a.locks(),
		a.why(), a.openapi(), a.versionCommand())
	for _, sub := range cmd.Commands() {
		if check := sub.Args; check != nil {
			sub.Args = func(c *cobra.Command, args []string) error {
				if err := check(c, args); err != nil {
					return usageError{fmt.Errorf("%w; see: %s --help", err, c.CommandPath())}
				}
				return nil
			}
		}
	}
	return cmd
}

// print gives a value as JSON, one line.
func (a *app) print(v any) error { return json.NewEncoder(a.out).Encode(v) }

// talk says something to people.
func (a *app) talk(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}
