package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
)

// logVerb prints a job's output.
func (a *app) logVerb() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use: "log ID|NAME", Short: "Print a job's output",
		Long: `log prints the output of a job, or of a dispatcher's newest job. With --json each line is an
object.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.idsAndNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := a.find(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if job.State == ipc.Queued {
				a.talk("job %s has not started: it %s", job.ID, because(job))
			}
			a.onInterrupt("dispatchctl log -f "+job.ID+" follows it again", "not following any longer; job %s goes on", job.ID)
			a.interrupted.Job = job.ID
			return a.copyLog(cmd.Context(), job.ID, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job has ended")
	return cmd
}

// copyLog copies a job's output to standard output.
func (a *app) copyLog(ctx context.Context, id string, follow bool) error {
	log, err := a.api().Log(ctx, id, 0, follow)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	if a.json {
		return a.copyLines(id, log)
	}
	_, err = io.Copy(a.out, log)
	return err
}

// outputLine is a line of a job's output as JSON.
type outputLine struct {
	Job  string `json:"job"`
	Line string `json:"line"`
}

// copyLines prints each line of a job's output as an object.
func (a *app) copyLines(id string, log io.Reader) error {
	lines := bufio.NewReader(log)
	for {
		text, err := lines.ReadString('\n')
		if text != "" {
			if err := a.print(outputLine{Job: id, Line: strings.TrimSuffix(text, "\n")}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
