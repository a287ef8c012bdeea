package main

import (
	"errors"

	"github.com/spf13/cobra"

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
	ids := make([]string, len(args))
	for i, word := range args {
		job, err := a.api().Job(cmd.Context(), word)
		if err != nil {
			return err
		}
		ids[i] = job.ID
	}
	var first error
	for _, id := range ids {
		job, err := a.await(cmd.Context(), id, 0)
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
