package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"dispatchd/ipc"
)

// status shows the daemon at a glance.
func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show the daemon at a glance", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.client.Status(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.print(s)
			}
			fmt.Fprintf(a.out, "dispatchd %s, process %d, started %s\n", s.Version, s.PID, humanize.Time(s.StartedAt))
			fmt.Fprintf(a.out, "%d running, %d queued, %d dispatchers, %d jobs in the history\n", s.Running, s.Queued, s.Dispatchers, s.History)
			fmt.Fprintf(a.out, "journal: %s (durability %s)\n", s.Journal, s.Durability)
			if s.Draining {
				fmt.Fprintln(a.out, "draining: nothing new is accepted; dispatchctl undrain ends that")
			}
			for _, name := range s.Disabled {
				fmt.Fprintf(a.out, "disabled: %s; see: dispatchctl show %s\n", name, name)
			}
			for _, name := range s.Paused {
				fmt.Fprintf(a.out, "paused: %s; dispatchctl resume %s ends that\n", name, name)
			}
			for _, w := range s.Warnings {
				fmt.Fprintln(a.out, "warning: "+w)
			}
			return nil
		},
	}
}

// list lists the dispatchers.
func (a *app) list() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the dispatchers", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.client.Dispatchers(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.print(all)
			}
			w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tSTATE\tRUNNING\tQUEUED\tLAST\tDESCRIPTION")
			for _, d := range all {
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", d.Name, d.State, d.Running, d.Queued, d.LastState, d.Description)
			}
			return w.Flush()
		},
	}
}

// show shows one dispatcher.
func (a *app) show() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show one dispatcher and its definition", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.client.Dispatcher(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.print(d)
			}
			fmt.Fprintf(a.out, "%s is %s; %d running, %d queued; from %s\n", d.Name, d.State, d.Running, d.Queued, d.Origin)
			if d.Reason != "" {
				fmt.Fprintln(a.out, "  "+strings.ReplaceAll(d.Reason, "; ", "\n  "))
			}
			for _, key := range slices.Sorted(maps.Keys(d.Definition)) {
				value, err := json.Marshal(d.Definition[key])
				if err != nil {
					return err
				}
				fmt.Fprintf(a.out, "  %s = %s\n", key, value)
			}
			return nil
		},
	}
}

// pause holds a dispatcher, or lets it go on.
func (a *app) pause(on bool) *cobra.Command {
	use, short := "resume NAME", "Let a paused dispatcher go on"
	if on {
		use, short = "pause NAME", "Accept jobs of a dispatcher, but start none; outlives restarts"
	}
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.client.Pause(cmd.Context(), args[0], on)
			if err != nil {
				return err
			}
			if a.json {
				return a.print(d)
			}
			a.talk("%s is %s", d.Name, d.State)
			return nil
		},
	}
}

// drain refuses new jobs and waits for the end of all.
func (a *app) drain() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "drain", Short: "Accept no new jobs, and wait for the end of all", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.client.Drain(cmd.Context(), true, wait)
			if err != nil {
				return err
			}
			if a.json {
				return a.print(s)
			}
			if left := s.Queued + s.Running; left > 0 {
				a.talk("dispatchctl: draining; %d jobs are not over", left)
				return exit(ipc.ExitTimedOut)
			}
			a.talk("drained: nothing runs and nothing is accepted; dispatchctl undrain ends that")
			return nil
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", time.Hour, "wait at most `DUR`")
	return cmd
}

// undrain accepts jobs again.
func (a *app) undrain() *cobra.Command {
	return &cobra.Command{
		Use: "undrain", Short: "Accept jobs again", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.client.Drain(cmd.Context(), false, 0)
			if err != nil || !a.json {
				return err
			}
			return a.print(s)
		},
	}
}

// reload has the definitions read anew.
func (a *app) reload() *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "Read the definitions anew", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.client.Reload(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.print(r)
			}
			for _, l := range []struct {
				word string
				list []string
			}{{"added", r.Added}, {"changed", r.Changed}, {"removed", r.Removed}} {
				if len(l.list) > 0 {
					a.talk("%s: %s", l.word, strings.Join(l.list, ", "))
				}
			}
			for _, f := range r.Faults {
				fmt.Fprintln(a.err, f)
			}
			if len(r.Faults) > 0 {
				return exit(ipc.ExitConfiguration)
			}
			return nil
		},
	}
}

// locks lists the locks.
func (a *app) locks() *cobra.Command {
	return &cobra.Command{
		Use: "locks", Short: "List locks with holders and waiters", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.client.Locks(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.print(all)
			}
			for _, l := range all {
				var holders []string
				for _, h := range l.Holders {
					switch {
					case h.Job != "":
						holders = append(holders, h.Dispatcher+" "+h.Job)
					default:
						holders = append(holders, fmt.Sprintf("process %d", h.PID))
					}
				}
				fmt.Fprintf(a.out, "%s: held by %s; %d wait\n", l.Name, strings.Join(holders, ", "), len(l.Waiters))
			}
			return nil
		},
	}
}

// openapi prints the API's description.
func (a *app) openapi() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "Print the API's OpenAPI 3.1 description", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := a.client.OpenAPI(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, string(raw))
			return nil
		},
	}
}

// versionCommand prints the versions of both sides.
func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the versions of client and daemon", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(a.out, "dispatchctl "+version())
			s, err := a.client.Status(cmd.Context())
			if err != nil {
				a.talk("no daemon answers")
				return nil //nolint:nilerr // the client's own version is an answer too
			}
			fmt.Fprintln(a.out, "dispatchd "+s.Version)
			return nil
		},
	}
}
