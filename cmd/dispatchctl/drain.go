package main

import (
	"time"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// drainVerb refuses new jobs and waits for the end of all.
func (a *app) drainVerb() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "drain", Short: "Accept no new jobs, and wait for the end of all",
		Long: `drain makes the daemon refuse new jobs and waits until those that it has are over. It holds
until undrain, also over a crash, a restart or an upgrade of the daemon.`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.drain(cmd, wait) },
	}
	cmd.Flags().DurationVar(&wait, "wait", time.Hour, "wait at most `DUR`; 0 = do not wait")
	return cmd
}

// drain runs the verb.
func (a *app) drain(cmd *cobra.Command, wait time.Duration) error {
	if wait < 0 {
		return console.Usage("use a duration such as 5m, or 0", "--wait: %s is not possible", wait)
	}
	s, err := a.api().Drain(cmd.Context(), true, 0)
	if err != nil {
		return err
	}
	if left := s.Queued + s.Running; left > 0 && wait > 0 {
		a.talk("draining: waiting for the jobs that are open (%d running, %d queued)", s.Running, s.Queued)
		a.onInterrupt("dispatchctl undrain ends that", "not waiting any longer; the daemon goes on draining")
		if s, err = a.api().Drain(cmd.Context(), true, wait); err != nil {
			return err
		}
	}
	if left := s.Queued + s.Running; left > 0 && wait > 0 {
		p := ipc.Errorf(ipc.KindTimeout, "after %s not all jobs have ended (%d running, %d queued); the daemon goes on draining", wait, s.Running, s.Queued)
		p.Suggestion = "dispatchctl jobs shows them; dispatchctl undrain accepts jobs again"
		return p
	}
	if a.json {
		return a.print(s)
	}
	if s.Queued+s.Running > 0 {
		a.talk("draining: nothing new is accepted, open jobs go on (%d running, %d queued); dispatchctl undrain ends that", s.Running, s.Queued)
		return nil
	}
	a.talk("drained: nothing runs and nothing is accepted; dispatchctl undrain ends that")
	return nil
}

// undrainVerb accepts jobs again.
func (a *app) undrainVerb() *cobra.Command {
	return &cobra.Command{
		Use: "undrain", Short: "Accept jobs again", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.api().Drain(cmd.Context(), false, 0)
			if err != nil {
				return err
			}
			if a.json {
				return a.print(s)
			}
			a.talk("jobs are accepted again")
			return nil
		},
	}
}
