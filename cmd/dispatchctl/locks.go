package main

import (
	"strings"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/lockfile"
)

// locksVerb lists the locks.
func (a *app) locksVerb() *cobra.Command {
	return &cobra.Command{
		Use: "locks", Short: "List locks with holders and waiters",
		Long: `locks lists the locks that jobs hold or wait for, and who holds them. A lock that only a
process outside holds is listed once a job has met it.`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.api().Locks(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return printLines(&a.screen, all)
			}
			if len(all) == 0 {
				a.talk("no lock is held or waited for")
				return nil
			}
			t := a.table("LOCK", "MODE", "WAITING", "SINCE", "HELD BY")
			for _, l := range all {
				t.Row(l.Name, lockMode(l), max(l.Waiting, len(l.Waiters)), since(l), strings.Join(holders(l), "; "))
			}
			return a.show(t)
		},
	}
}

// lockMode is shared or exclusive.
func lockMode(l ipc.Lock) string {
	switch {
	case len(l.Holders) == 0:
		return "-"
	case l.Holders[0].Shared:
		return "shared"
	case l.Holders[0].Job == "":
		return "outside"
	}
	return "exclusive"
}

// since is the time from which the first holder has the lock.
func since(l ipc.Lock) string {
	if len(l.Holders) == 0 || l.Holders[0].Since.IsZero() {
		return "-"
	}
	return ago(l.Holders[0].Since)
}

// holders names the holders of a lock.
func holders(l ipc.Lock) []string {
	var list []string
	for _, known := range l.Holders {
		h := holder{Job: known.Job, Dispatcher: known.Dispatcher, PID: known.PID, State: ipc.Running}
		if h.Job == "" {
			h.Command = lockfile.Command(h.PID)
		}
		list = append(list, h.words())
	}
	return list
}
