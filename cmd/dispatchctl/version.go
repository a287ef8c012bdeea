package main

import (
	"errors"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// versions is version --json. Daemon is "" when none answers.
type versions struct {
	Client string `json:"client"`
	Daemon string `json:"daemon"`
	API    int    `json:"api"`
}

// versionVerb prints the versions of both sides. It works without a daemon.
func (a *app) versionVerb() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the versions of client and daemon", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versions{Client: console.Version(), API: ipc.APIVersion}
			s, err := a.api().Status(cmd.Context())
			v.Daemon = s.Version
			p, typed := errors.AsType[*ipc.Error](err)
			if down := typed && (p.Kind == ipc.KindUnavailable || p.Kind == ipc.KindNoAnswer || p.Kind == ipc.KindForbidden); down {
				err = nil // the client's own version is an answer too
			}
			if a.json {
				return errors.Join(a.print(v), err)
			}
			a.printf("dispatchctl %s", v.Client)
			if v.Daemon != "" {
				a.printf("dispatchd %s", v.Daemon)
			} else if err == nil {
				a.talk("%s", p.Error())
			}
			return err
		},
	}
}
