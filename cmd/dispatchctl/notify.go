package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
	"dispatchd/ipc/terminal"
)

// request are the flags of the verbs that ask for a run or wait for one.
type request struct {
	fields     fields
	key        string
	wait       string
	printID    bool
	exitStatus bool
	pidfile    string
	timeout    time.Duration // 0 = the dispatcher's own alone
	patient    bool
	raw        bool     // the output as it is, on a terminal, too
	bound      bool     // the job ends when this command does
	instead    []string // the command to run where no daemon has had the request
}

// keyFlag and exitStatusFlag are common to several verbs.
func (r *request) keyFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.key, "key", "", "idempotency `KEY`: the same key gives the same job")
}

func (r *request) exitStatusFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.exitStatus, "exit-status", false, "exit with the job's own exit status; 128 and the signal's number, 126 or 127 as shells do")
}

// limit reads --wait: how long, 0 = for ever; false = not at all.
func (r *request) limit() (time.Duration, bool, error) {
	switch r.wait {
	case "":
		return 0, false, nil
	case "true":
		return 0, true, nil
	}
	d, err := time.ParseDuration(r.wait)
	if err != nil || d <= 0 {
		return 0, false, console.Usage("use a duration above zero, such as 30s or 5m", "--wait: %q is no duration", r.wait)
	}
	return d, true, nil
}

// ask sends the notify of a command line.
func (a *app) ask(ctx context.Context, r *request, args []string) (ipc.Notified, error) {
	req := ipc.NotifyRequest{Dispatcher: args[0], IdempotencyKey: r.key, Bound: r.bound}
	var err error
	if req.Arguments, err = r.fields.read(args[1:], a.in); err != nil {
		return ipc.Notified{}, err
	}
	n, err := a.api().Notify(ctx, req)
	a.job = n.ID
	return n, err
}

// notifyVerb asks for a run and returns, or waits for its end.
func (a *app) notifyVerb() *cobra.Command {
	r := &request{}
	cmd := &cobra.Command{
		Use: "notify NAME [JSON|-]", Short: "Ask for a run of a dispatcher",
		Long: `notify asks for one run of a dispatcher, with JSON as its arguments; - reads them from
standard input. The answer comes when the job is safe on disk. Every user of the machine can
read a command line: give what is secret on standard input or in a file.`,
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			limit, waits, err := r.limit()
			if err != nil {
				return err
			}
			n, err := a.ask(cmd.Context(), r, args)
			if err != nil {
				return err
			}
			if !waits {
				return a.accepted(n, r.printID)
			}
			if r.printID && !a.json {
				a.printf("%s", n.ID)
			} else {
				a.talk("%s", n.Words())
			}
			job, err := a.await(cmd.Context(), n.ID, limit)
			if err != nil {
				return err
			}
			return a.ended(job, r, r.printID)
		},
	}
	r.fields.flags(cmd)
	r.keyFlag(cmd)
	r.exitStatusFlag(cmd)
	cmd.Flags().StringVar(&r.wait, "wait", "", "wait for the job's end, at most `DUR`")
	cmd.Flags().Lookup("wait").NoOptDefVal = "true"
	cmd.Flags().BoolVar(&r.printID, "print-id", false, "print the job's id only")
	return cmd
}

// accepted prints the job that a notify made or joined.
func (a *app) accepted(n ipc.Notified, idOnly bool) error {
	switch {
	case a.json:
		return a.print(n)
	case idOnly:
		a.printf("%s", n.ID)
	case !a.quiet:
		a.printf("%s", n.Words())
	}
	return nil
}

// await waits for a job's end, at most this time; 0 = without bound.
func (a *app) await(ctx context.Context, id string, limit time.Duration) (ipc.Job, error) {
	a.onInterruptOf(id)
	waiting := ctx
	if limit > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	job, err := a.api().Await(waiting, id)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		if job, err = a.api().Job(ctx, id); err == nil && !job.State.Final() {
			err = ipc.WaitOver(job, limit)
		}
	}
	return job, err
}

// ended prints how a job ended, as data or as talk, and makes it the exit code.
func (a *app) ended(job ipc.Job, r *request, talkOnly bool) error {
	switch {
	case a.json:
		if err := a.print(job); err != nil {
			return err
		}
	case talkOnly:
		a.talk("%s", job.Words())
	case !a.quiet:
		a.printf("%s", a.outcome(job))
	}
	if r.exitStatus {
		return console.Code(job.ExitStatus())
	}
	return console.Code(job.State.ExitCode())
}

// outcome is a job's Words, coloured.
func (a *app) outcome(job ipc.Job) terminal.Styled {
	rest := terminal.Line(job.Words()[len(job.State):])
	return a.palette().State(string(job.State)) + terminal.Styled(rest)
}

// raw gives a value as JSON for people to read.
func raw(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}
