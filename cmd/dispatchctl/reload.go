package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// reloadVerb has the definitions read anew.
func (a *app) reloadVerb() *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "Read the definitions anew",
		Long: `reload reads all dispatchers' files anew and says what changed. A file with a fault changes
nothing; the exit code is 78 then. Queued and running jobs are kept.`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.api().Reload(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				err = a.print(r)
			} else {
				a.reloaded(r)
			}
			if err == nil && len(r.Faults) > 0 {
				return console.Code(ipc.ExitConfiguration)
			}
			return err
		},
	}
}

// reloaded says what a reload changed.
func (a *app) reloaded(r ipc.Reload) {
	lists := []struct {
		word  string
		names []string
	}{{"added", r.Added}, {"changed", r.Changed}, {"removed", r.Removed}}
	same := true
	for _, l := range lists {
		if len(l.names) > 0 {
			a.say("%s: %s", l.word, strings.Join(l.names, ", "))
			same = false
		}
	}
	if same {
		a.talk("nothing changed")
	}
	if len(r.Faults) == 0 {
		return
	}
	fmt.Fprintln(a.err, "dispatchctl: these files have faults and changed nothing:")
	for _, f := range r.Faults {
		fmt.Fprintln(a.err, "  "+console.Clean(f))
	}
	fmt.Fprintln(a.err, "  mend them, then run dispatchctl reload again; dispatchctl check shows each with its line")
}
