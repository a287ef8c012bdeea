package main

import (
	"strings"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// reloadVerb makes the daemon read the definitions again.
func (a *app) reloadVerb() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use: "reload", Short: "Read the definitions anew",
		Long: `reload reads all dispatchers' files anew and says what changed. A file with a fault changes
nothing: the last good definition of its dispatcher stays in force, and the exit code is 78.
Queued and running jobs are kept; those of a removed dispatcher run to their end.
What changed in dispatchd.toml is named: it counts from the next restart or upgrade on.`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.api().Reload(cmd.Context(), dry)
			if err != nil {
				return err
			}
			if a.json {
				err = a.print(r)
			} else {
				a.reloaded(r, dry)
			}
			if err == nil && len(r.Faults) > 0 {
				return console.Code(ipc.ExitConfiguration)
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&dry, "dry-run", "n", false, "only say what would change")
	return cmd
}

// reloaded prints the changes of a reload, or those that it would make.
func (a *app) reloaded(r ipc.Reload, dry bool) {
	lists := []struct {
		word  string
		names []string
	}{{"added", r.Added}, {"changed", r.Changed}, {"removed", r.Removed}}
	if dry {
		for i := range lists {
			lists[i].word = "would be " + lists[i].word
		}
	}
	same := true
	for _, l := range lists {
		if len(l.names) > 0 {
			a.printf("%s: %s", l.word, strings.Join(l.names, ", "))
			same = false
		}
	}
	switch {
	case same && dry:
		a.talk("nothing would change")
	case same:
		a.talk("nothing changed")
	}
	if len(r.Restart) > 0 {
		a.printf("dispatchd.toml has other values of %s: run dispatchctl upgrade to have them, with all jobs kept", strings.Join(r.Restart, ", "))
	}
	for _, w := range r.Warnings {
		a.complain("dispatchctl: warning: %s", w)
	}
	for _, u := range r.Unread {
		a.complain("dispatchctl: warning: %s", u)
	}
	if len(r.Faults) == 0 {
		return
	}
	a.complain("dispatchctl: these files have faults and change nothing; what was good before stays in force:")
	for _, f := range r.Faults {
		a.complain("  %s", f)
	}
	a.complain("  mend them, then run dispatchctl reload again; dispatchctl check shows each with its line")
}
