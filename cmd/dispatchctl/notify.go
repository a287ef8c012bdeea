package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
)

// request are the flags of notify and run.
type request struct {
	key        string
	wait       string
	printID    bool
	pidfile    string
	exitStatus bool
}

// arguments is the JSON of the command line, or of standard input for "-".
func (a *app) arguments(args []string) (json.RawMessage, error) {
	if len(args) < 2 {
		return nil, nil
	}
	if args[1] != "-" {
		return json.RawMessage(args[1]), nil
	}
	raw, err := io.ReadAll(io.LimitReader(a.in, 1<<20+1))
	if err == nil && len(raw) > 1<<20 {
		return nil, ipc.Errorf(ipc.KindArgumentsInvalid, "the arguments on standard input are longer than 1 MiB")
	}
	return raw, err
}

// ask sends the notify of a command line.
func (a *app) ask(ctx context.Context, r *request, args []string) (ipc.Notified, error) {
	raw, err := a.arguments(args)
	if err != nil {
		return ipc.Notified{}, err
	}
	return a.client.Notify(ctx, ipc.NotifyRequest{Dispatcher: args[0], Arguments: raw, IdempotencyKey: r.key})
}

// notify asks for a run and returns.
func (a *app) notify() *cobra.Command {
	r := &request{}
	cmd := &cobra.Command{
		Use: "notify NAME [JSON|-]", Short: "Ask for a run of a dispatcher", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.ask(cmd.Context(), r, args)
			if err != nil {
				return err
			}
			if r.wait == "" {
				return a.accepted(n, r.printID)
			}
			a.talkAccepted(n)
			return a.waitFor(cmd.Context(), n.ID, r)
		},
	}
	r.flags(cmd)
	cmd.Flags().StringVar(&r.wait, "wait", "", "wait for the job's end, at most `DUR`")
	cmd.Flags().Lookup("wait").NoOptDefVal = "true"
	cmd.Flags().BoolVar(&r.printID, "print-id", false, "print the job's id only")
	return cmd
}

// flags are common to notify and run.
func (r *request) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.key, "key", "", "idempotency `KEY`: the same key gives the same job")
	cmd.Flags().BoolVar(&r.exitStatus, "exit-status", false, "exit with the job's own exit status")
}

// run asks for a run, follows its output and waits for its end. The original
// called it notifydispatcher.
func (a *app) run(original bool) *cobra.Command {
	r := &request{}
	cmd := &cobra.Command{
		Use: "run NAME [JSON|-]", Short: "Ask for a run, follow its output, wait for its end", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.ask(cmd.Context(), r, args)
			if err != nil {
				return err
			}
			a.talkAccepted(n)
			if r.pidfile != "" {
				if err := os.WriteFile(r.pidfile, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
					a.talk("dispatchctl: pid file: %v", err)
				}
				defer func() { _ = os.Remove(r.pidfile) }()
			}
			if !a.json {
				if err := a.copyLog(cmd.Context(), n.ID, 0, true); err != nil {
					return err
				}
			}
			return a.waitFor(cmd.Context(), n.ID, r)
		},
	}
	if original {
		cmd.Use, cmd.Hidden = "notifydispatcher NAME [JSON|-]", true
	}
	r.flags(cmd)
	cmd.Flags().StringVar(&r.pidfile, "pidfile", "", "keep this command's process id in `FILE` while the job is not over")
	return cmd
}

// accepted prints what became of a notify.
func (a *app) accepted(n ipc.Notified, idOnly bool) error {
	switch {
	case a.json:
		return a.print(n)
	case idOnly:
		fmt.Fprintln(a.out, n.ID)
	case !a.quiet:
		fmt.Fprintln(a.out, acceptedText(n))
	}
	return nil
}

// talkAccepted says it to people only: the data is still to come.
func (a *app) talkAccepted(n ipc.Notified) { a.talk("%s", acceptedText(n)) }

// acceptedText words the answer to a notify.
func acceptedText(n ipc.Notified) string {
	switch {
	case n.State.Final():
		return fmt.Sprintf("%s %s", n.State, n.ID)
	case n.Coalesced:
		return fmt.Sprintf("joined %s (already queued)", n.ID)
	case n.Position <= 1:
		return fmt.Sprintf("queued %s (next)", n.ID)
	}
	return fmt.Sprintf("queued %s (number %d in line)", n.ID, n.Position)
}

// waitFor waits for a job's end and makes it the exit code.
func (a *app) waitFor(ctx context.Context, id string, r *request) error {
	waiting := ctx
	if d, err := time.ParseDuration(r.wait); err == nil {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	} else if r.wait != "" && r.wait != "true" {
		return usageError{fmt.Errorf("--wait=%s: not a duration such as 30s", r.wait)}
	}
	job, err := a.client.Await(waiting, id)
	if err != nil {
		if ctx.Err() == nil && waiting.Err() != nil {
			a.talk("dispatchctl: the wait is over; job %s goes on", id)
			return exit(ipc.ExitTimedOut)
		}
		return err
	}
	if a.json {
		if err := a.print(job); err != nil {
			return err
		}
	}
	return a.end(job, r.exitStatus)
}

// end tells how a job ended, and its exit code.
func (a *app) end(job ipc.Job, own bool) error {
	if !a.json {
		why := ""
		if job.Error != nil {
			why = ": " + job.Error.Message
		}
		a.talk("%s %s%s", job.State, job.ID, why)
	}
	if own && job.ExitCode != nil && *job.ExitCode != 0 {
		return exit(*job.ExitCode)
	}
	if code := job.State.ExitCode(); code != 0 {
		return exit(code)
	}
	return nil
}
