package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"dispatchd/ipc"
)

// jobs lists jobs.
func (a *app) jobs() *cobra.Command {
	var f ipc.JobFilter
	var state string
	cmd := &cobra.Command{
		Use: "jobs [NAME]", Short: "List jobs, newest first", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.Dispatcher = args[0]
			}
			f.State = ipc.State(state)
			jobs, err := a.client.Jobs(cmd.Context(), f)
			if err != nil {
				return err
			}
			return a.table(jobs)
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "only jobs in this `STATE`")
	cmd.Flags().IntVar(&f.Limit, "limit", 20, "at most `N`")
	return cmd
}

// table prints jobs, a line each.
func (a *app) table(jobs []ipc.Job) error {
	if a.json {
		for _, j := range jobs {
			if err := a.print(j); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "JOB\tDISPATCHER\tSTATE\tCREATED\tTOOK\tWHY")
	for _, j := range jobs {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", j.ID, j.Dispatcher, j.State, humanize.Time(j.CreatedAt), took(j), because(j))
	}
	return w.Flush()
}

// took is how long a job ran.
func took(j ipc.Job) string {
	if j.StartedAt == nil || j.EndedAt == nil {
		return "-"
	}
	return j.EndedAt.Sub(*j.StartedAt).Round(1e6).String()
}

// because is why a job waits or failed.
func because(j ipc.Job) string {
	switch {
	case j.Error != nil:
		return j.Error.Message
	case j.WaitingFor != nil:
		return waits(*j.WaitingFor)
	case j.Progress != nil:
		return j.Progress.Message
	}
	return ""
}

// waits words what a job waits for.
func waits(w ipc.WaitingFor) string {
	var s string
	switch w.Reason {
	case ipc.WaitTurn:
		s = "waits for its turn"
	case ipc.WaitLock:
		s = "waits for lock " + w.Lock
	case ipc.WaitPaused:
		s = "its dispatcher is paused"
	case ipc.WaitDebounce:
		s = "waits for quiet"
	case ipc.WaitSlot:
		s = "waits for a free slot (max_running)"
	case ipc.WaitBackoff:
		s = "waits to be tried again"
	}
	if w.Job != "" {
		s += ", behind job " + w.Job
	}
	if w.PID != 0 {
		s += fmt.Sprintf(", held by process %d", w.PID)
	}
	if w.Until != nil {
		s += ", until " + w.Until.Local().Format("15:04:05")
	}
	if w.Detail != "" {
		s += " (" + w.Detail + ")"
	}
	return s
}

// find is a job by its id, or the newest one of a dispatcher.
func (a *app) find(ctx context.Context, word string) (ipc.Job, error) {
	job, err := a.client.Job(ctx, word)
	p, ok := errors.AsType[*ipc.Error](err)
	if !ok || p.Kind != ipc.KindJobUnknown {
		return job, err
	}
	if _, derr := a.client.Dispatcher(ctx, word); derr != nil {
		return job, orElse(derr, err)
	}
	jobs, jerr := a.client.Jobs(ctx, ipc.JobFilter{Dispatcher: word, Limit: 1})
	if jerr != nil || len(jobs) == 0 {
		return job, orElse(jerr, ipc.Errorf(ipc.KindJobUnknown, "dispatcher %s has no jobs", word))
	}
	return jobs[0], nil
}

// orElse is the first error that is one.
func orElse(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// log prints a job's output.
func (a *app) log() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use: "log ID|NAME", Short: "Print a job's output", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := a.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.copyLog(cmd.Context(), job.ID, 0, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job has ended")
	return cmd
}

// copyLog copies a job's output to standard output.
func (a *app) copyLog(ctx context.Context, id string, from int64, follow bool) error {
	log, err := a.client.Log(ctx, id, from, follow)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	_, err = io.Copy(a.out, log)
	return err
}

// wait waits for jobs.
func (a *app) wait() *cobra.Command {
	r := &request{}
	cmd := &cobra.Command{
		Use: "wait ID...", Short: "Wait for the end of jobs", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var last error
			for _, id := range args {
				if err := a.waitFor(cmd.Context(), id, r); err != nil {
					if _, ended := errors.AsType[exit](err); !ended {
						return err
					}
					last = err
				}
			}
			return last
		},
	}
	cmd.Flags().BoolVar(&r.exitStatus, "exit-status", false, "exit with the job's own exit status")
	return cmd
}

// cancel ends a job, or all open jobs of a dispatcher.
func (a *app) cancel() *cobra.Command {
	return &cobra.Command{
		Use: "cancel ID|NAME", Short: "End a job, or all open jobs of a dispatcher", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			ids := []string{args[0]}
			if _, err := a.client.Dispatcher(ctx, args[0]); err == nil {
				ids = nil
				for _, state := range []ipc.State{ipc.Queued, ipc.Running} {
					jobs, err := a.client.Jobs(ctx, ipc.JobFilter{Dispatcher: args[0], State: state, Limit: 1000})
					if err != nil {
						return err
					}
					for _, j := range jobs {
						ids = append(ids, j.ID)
					}
				}
			}
			for _, id := range ids {
				job, err := a.client.Cancel(ctx, id)
				if err != nil {
					return err
				}
				if a.json {
					_ = a.print(job)
				} else {
					a.talk("%s: asked to end (%s)", job.ID, job.State)
				}
			}
			return nil
		},
	}
}

// retry asks for a new job like an ended one.
func (a *app) retry() *cobra.Command {
	return &cobra.Command{
		Use: "retry ID", Short: "Ask for a new job like an ended one", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.client.Retry(cmd.Context(), args[0], "")
			if err != nil {
				return err
			}
			return a.accepted(n, false)
		},
	}
}

// why says what a job waits for.
func (a *app) why() *cobra.Command {
	return &cobra.Command{
		Use: "why ID|NAME", Short: "Say what a job waits for, or how it ended", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := a.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.print(job)
			}
			fmt.Fprintf(a.out, "%s of %s is %s", job.ID, job.Dispatcher, job.State)
			if text := because(job); text != "" {
				fmt.Fprint(a.out, ": "+text)
			}
			fmt.Fprintf(a.out, "; created %s", humanize.Time(job.CreatedAt))
			if len(job.Notifiers) > 0 {
				n := job.Notifiers[0]
				fmt.Fprintf(a.out, " by user %d, process %d", n.UID, n.PID)
			}
			fmt.Fprintln(a.out)
			return nil
		},
	}
}
