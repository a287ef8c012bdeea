package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
)

// maxExplained is the most jobs of one dispatcher that why explains.
const maxExplained = 5

// whyVerb explains what a job waits for: its holder, since when, about how long.
func (a *app) whyVerb() *cobra.Command {
	return &cobra.Command{
		Use: "why ID|NAME", Short: "Say what a job waits for, who holds it, and about how long",
		Long: `why says what a job waits for, who holds it up and since when, or how it ended. With a
dispatcher's name it explains its open jobs, those that are first in line first.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.idsAndNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !isID(args[0]) {
				return a.whyAll(cmd.Context(), args[0])
			}
			job, err := a.api().Job(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.why(cmd.Context(), job)
		},
	}
}

// whyAll explains the open jobs of a dispatcher, else its last one.
func (a *app) whyAll(ctx context.Context, name string) error {
	jobs, err := a.open(ctx, name)
	if err != nil {
		return err
	}
	if len(jobs) == 0 {
		last, err := a.current(ctx, name)
		if err != nil {
			return err
		}
		a.talk("%s has no open jobs; this is its last one", name)
		return a.why(ctx, last)
	}
	slices.SortFunc(jobs, byPosition)
	for i, job := range jobs {
		if i == maxExplained {
			a.talk("and %d more; dispatchctl jobs %s --state queued shows them", len(jobs)-i, name)
			break
		}
		if i > 0 && !a.json {
			a.printf("")
		}
		if err := a.why(ctx, job); err != nil {
			return err
		}
	}
	return nil
}

// byPosition orders running jobs before queued ones, each by their ids, which are
// in order of acceptance.
func byPosition(x, y ipc.Job) int {
	if x.State != y.State {
		if x.State == ipc.Running {
			return -1
		}
		return 1
	}
	if x.ID < y.ID {
		return -1
	}
	return 1
}

// explanation is why --json: the job and its holder.
type explanation struct {
	ipc.Job
	Holder *holder `json:"holder,omitempty"`
}

// why explains one job.
func (a *app) why(ctx context.Context, job ipc.Job) error {
	h, err := a.holderOf(ctx, job)
	if err != nil {
		return err
	}
	if a.json {
		return a.print(explanation{Job: job, Holder: h})
	}
	return a.describe(job, h, false)
}
