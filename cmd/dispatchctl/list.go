package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// listVerb lists the dispatchers.
func (a *app) listVerb() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the dispatchers", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.api().Dispatchers(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printLines(&a.screen, all)
			}
			next := a.nextRuns(cmd.Context(), "")
			t := a.table("NAME", "STATE", "RUNNING", "QUEUED", "LAST", "NEXT", "DESCRIPTION")
			for _, d := range all {
				t.Row(d.Name, console.State(d.State), d.Running, d.Queued, console.State(d.LastState), untilNext(next[d.Name]), about(d))
			}
			if len(all) == 0 {
				a.talk("there are no dispatchers; put NAME.toml into dispatchers.d, then: dispatchctl reload")
				return nil
			}
			return a.show(t)
		},
	}
}

// nextRuns are the next due times of one dispatcher, or of all; those without a
// schedule have none. It is an addition: without an answer there are none.
func (a *app) nextRuns(ctx context.Context, name string) map[string]time.Time {
	list, err := a.api().Schedule(ctx, ipc.ScheduleQuery{Dispatcher: name, Next: 1})
	next := map[string]time.Time{}
	for _, s := range list {
		if err == nil && len(s.Next) > 0 {
			next[s.Dispatcher] = s.Next[0]
		}
	}
	return next
}

// untilNext is a due time in a table.
func untilNext(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return clock(at)
}

// about is what is wrong with a dispatcher, else its description.
func about(d ipc.Dispatcher) string {
	if d.Reason != "" {
		first, _, more := strings.Cut(d.Reason, "; ")
		if more {
			first += " …"
		}
		return first
	}
	return d.Description
}
