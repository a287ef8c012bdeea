package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// statusVerb shows the daemon at a glance.
func (a *app) statusVerb() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the daemon at a glance", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.api().Status(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return errors.Join(a.print(s), console.Code(journalCode(s)))
			}
			a.printf("dispatchd %s, process %d, started %s", s.Version, s.PID, ago(s.StartedAt))
			a.printf("%d running, %d queued, %s, %s in the history", s.Running, s.Queued, ipc.Counted(s.Dispatchers, "dispatcher"), ipc.Counted(s.History, "job"))
			a.printf("journal: %s (durability %s)", s.Journal, s.Durability)
			if s.Starts != "ok" && s.Starts != "" { // an older daemon does not say
				a.printf("no job starts: %s; they start by themselves when there is room", s.Starts)
			}
			if s.Draining {
				who := ""
				if by := s.DrainedBy; by != nil && !by.At.IsZero() {
					who = fmt.Sprintf(" %s, by user %d (process %d)", ago(by.At), by.UID, by.PID)
				}
				a.printf("draining%s: nothing new is accepted; dispatchctl undrain ends that", who)
			}
			for _, name := range s.Disabled {
				a.printf("%s: %s; dispatchctl show %s says why", a.palette().State("disabled"), name, name)
			}
			for _, name := range s.Paused {
				a.printf("%s: %s; to start its jobs: dispatchctl resume %s", a.palette().State("paused"), name, name)
			}
			if n := len(s.OpenOutputs); n > 0 {
				a.printf("%s left something running that can still print to the job's log; dispatchctl doctor names what", ipc.Counted(n, "ended job"))
			}
			for _, w := range s.Warnings {
				a.printf("warning: %s", w)
			}
			if r := findRestapi(os.Getenv); r != nil {
				a.printf("%s", r.words())
			}
			return console.Code(journalCode(s))
		},
	}
}

// journalCode is the exit code of a daemon whose journal cannot be written: that of
// the notify that it refuses.
func journalCode(s ipc.Status) int {
	if s.Journal == "ok" || s.Journal == "" {
		return ipc.ExitOK
	}
	return ipc.KindJournalUnavailable.ExitCode()
}

// ago says when something was, from now.
func ago(t time.Time) string { return humanize.Time(t) }
