package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
)

// cancelVerb ends a job, or all open jobs of a dispatcher.
func (a *app) cancelVerb() *cobra.Command {
	return &cobra.Command{
		Use: "cancel ID|NAME", Short: "End a job, or all open jobs of a dispatcher",
		Long: `cancel ends a queued job at once; a running one gets SIGTERM, and SIGKILL after its
kill_grace. It does not wait for that. With a dispatcher's name it ends all that are
queued and running.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.openIDsAndNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if isID(args[0]) {
				return a.cancelJob(cmd.Context(), args[0])
			}
			return a.cancelAll(cmd.Context(), args[0])
		},
	}
}

// cancelAll ends the open jobs of a dispatcher, the newest first: none of them
// starts because an earlier one ended.
func (a *app) cancelAll(ctx context.Context, name string) error {
	jobs, err := a.open(ctx, name)
	if err != nil {
		return err
	}
	if len(jobs) == 0 {
		a.talk("%s has no open jobs: nothing to cancel", name)
	}
	for _, j := range jobs {
		err := a.cancelJob(ctx, j.ID)
		if p, ok := errors.AsType[*ipc.Error](err); ok && p.Kind == ipc.KindStateConflict {
			continue // it ended meanwhile
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cancelJob ends one job.
func (a *app) cancelJob(ctx context.Context, id string) error {
	job, err := a.api().Cancel(ctx, id)
	switch {
	case err != nil:
		return err
	case a.json:
		return a.print(job)
	case a.quiet:
	case job.State.Final():
		a.printf("%s", a.outcome(job))
	default:
		a.printf("%s %s: told to end; dispatchctl wait %s waits for that", a.palette().State(string(job.State)), job.ID, job.ID)
	}
	return nil
}
