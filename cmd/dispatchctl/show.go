package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
)

// showVerb shows one dispatcher, or one job.
func (a *app) showVerb() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME|ID", Short: "Show one dispatcher and its definition, or one job",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.idsAndNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if isID(args[0]) {
				job, err := a.api().Job(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if a.json {
					return a.print(job)
				}
				h, err := a.holderOf(cmd.Context(), job)
				if err != nil {
					return err
				}
				return a.describe(job, h, true)
			}
			d, err := a.api().Dispatcher(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.print(d)
			}
			a.definition(d, a.nextRuns(cmd.Context(), d.Name)[d.Name])
			return nil
		},
	}
}

// definition shows a dispatcher: how it is, then every key that is in force.
func (a *app) definition(d ipc.Dispatcher, next time.Time) {
	a.printf("%s is %s: %d running, %d queued", d.Name, a.palette().State(string(d.State)), d.Running, d.Queued)
	a.printf("defined in %s", d.Origin)
	if d.LastJob != "" {
		a.printf("last job %s %s", d.LastJob, a.palette().State(string(d.LastState)))
	}
	if d.LastEndedAt != nil {
		a.printf("last end %s", when(*d.LastEndedAt))
	}
	if d.LastSuccess != "" && d.LastSuccess != d.LastJob && d.LastSuccessAt != nil {
		a.printf("last success %s, %s", d.LastSuccess, when(*d.LastSuccessAt))
	}
	if !next.IsZero() {
		a.printf("next due %s (%s)", clock(next), ago(next))
	}
	if c := d.Counters; c.Accepted+c.Coalesced+c.Refused > 0 {
		a.printf("since the daemon's start: %d accepted, %d joined, %d refused; %d succeeded, %d failed, %d canceled or expired",
			c.Accepted, c.Coalesced, c.Refused, c.Succeeded, c.Failed, c.Canceled)
	}
	if d.Reason != "" {
		for fault := range strings.SplitSeq(d.Reason, "; ") {
			a.printf("  %s", fault)
		}
		a.printf("  mend it, then run: dispatchctl reload")
	}
	if d.State == ipc.DispatcherPaused {
		a.printf("  new jobs wait; to start them: dispatchctl resume %s", d.Name)
	}
	for _, key := range slices.Sorted(maps.Keys(d.Definition)) {
		if text, ok := d.Definition[key].(string); ok && strings.Contains(strings.TrimSpace(text), "\n") {
			a.printf("  %s = '''", key)
			for l := range strings.Lines(text) {
				a.printf("    %s", strings.TrimSuffix(l, "\n"))
			}
			a.printf("  '''")
			continue
		}
		a.printf("  %s = %s", key, raw(d.Definition[key]))
	}
}
