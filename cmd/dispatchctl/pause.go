package main

import "github.com/spf13/cobra"

// pauseVerb pauses a dispatcher, or resumes it.
func (a *app) pauseVerb(on bool) *cobra.Command {
	cmd := &cobra.Command{
		Use: "resume NAME", Short: "Let a paused dispatcher go on", Args: cobra.ExactArgs(1), ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.api().Pause(cmd.Context(), args[0], on)
			if err != nil {
				return err
			}
			if a.json {
				return a.print(d)
			}
			if on {
				a.talk("%s is paused: new jobs wait (%d running, %d queued); to start them: dispatchctl resume %s", d.Name, d.Running, d.Queued, d.Name)
			} else {
				a.talk("%s is %s (%d running, %d queued)", d.Name, d.State, d.Running, d.Queued)
			}
			return nil
		},
	}
	if on {
		cmd.Use, cmd.Short = "pause NAME", "Accept jobs of a dispatcher, but start none; outlives restarts"
	}
	return cmd
}
