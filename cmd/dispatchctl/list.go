package main

import (
	"strings"

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
			t := a.table("NAME", "STATE", "RUNNING", "QUEUED", "LAST", "DESCRIPTION")
			for _, d := range all {
				t.Row(d.Name, console.State(d.State), d.Running, d.Queued, console.State(d.LastState), about(d))
			}
			if len(all) == 0 {
				a.talk("there are no dispatchers; put NAME.toml into dispatchers.d, then: dispatchctl reload")
				return nil
			}
			return a.show(t)
		},
	}
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
