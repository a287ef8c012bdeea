package main

import (
	"errors"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// waitVerb waits for jobs.
func (a *app) waitVerb() *cobra.Command {
	r := &request{}
	cmd := &cobra.Command{
		Use: "wait ID...", Short: "Wait for the end of jobs",
		Long: `wait waits until all these jobs have ended and says how, a line each in the order given. Its
exit code is that of the first job in this order that did not succeed.`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.openIDs,
		RunE: func(cmd *cobra.Command, args []string) error { return a.waitAll(cmd, r, args) },
	}
	r.exitStatusFlag(cmd)
	return cmd
}

// waitAll looks for all jobs before it waits for any: a wrong id is told at
// once.
func (a *app) waitAll(cmd *cobra.Command, r *request, args []string) error {
	if err := wantID("wait", args...); err != nil {
		return err
	}
	a.onInterrupt("", "not waiting any longer; the jobs go on")
	jobs := make([]ipc.Job, len(args))
	for i, word := range args {
		var err error
		if jobs[i], err = a.api().Job(cmd.Context(), word); err != nil {
			return err
		}
	}
	var first error
	for _, job := range jobs {
		if !job.State.Final() {
			a.onInterruptOf(job.ID)
			a.talk("waiting for job %s of %s (%s)", job.ID, job.Dispatcher, job.State)
		}
		job, err := a.await(cmd.Context(), job.ID, 0)
		if err != nil {
			return err
		}
		err = a.ended(job, r, false)
		if _, code := errors.AsType[console.Exit](err); err != nil && !code {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}
