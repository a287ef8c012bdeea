package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
)

// upgradeWait bounds the wait for the new program's first answer.
const upgradeWait = 30 * time.Second

// upgradeVerb replaces the daemon by the program that is installed now.
func (a *app) upgradeVerb() *cobra.Command {
	return &cobra.Command{
		Use: "upgrade", Short: "Have the daemon become the program that is installed now; jobs go on",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := a.api().Upgrade(cmd.Context())
			if err != nil {
				return err
			}
			s, err := a.upgraded(cmd.Context(), u)
			if err != nil {
				return err
			}
			if a.json {
				return a.print(s)
			}
			if u.From == s.Version {
				a.talk("the daemon is the program that is installed now, again version %s, process %d", s.Version, s.PID)
			} else {
				a.talk("upgraded from %s to %s, process %d", u.From, s.Version, s.PID)
			}
			return nil
		},
	}
}

// upgraded waits until the next daemon answers: its started_at is another.
func (a *app) upgraded(ctx context.Context, u ipc.Upgrade) (ipc.Status, error) {
	waiting, cancel := context.WithTimeout(ctx, upgradeWait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := a.api().Status(waiting)
		if err == nil && !s.StartedAt.Equal(u.StartedAt) {
			return s, nil
		}
		select {
		case <-tick.C:
			continue
		case <-waiting.Done():
		}
		if ctx.Err() != nil {
			return s, ctx.Err()
		}
		return s, errors.Join(ipc.Errorf(ipc.KindUpgradeFailed, "the daemon has not become another after %s; its log says why", upgradeWait), err)
	}
}
