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
	var follow, raw bool
	cmd := &cobra.Command{
		Use: "log ID|NAME", Short: "Print a job's output",
		Long: `log prints the output of a job, or of a dispatcher's newest job. With --json each line is an
object. On a terminal control sequences other than colours are left out.`,
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
			return a.copyLog(cmd.Context(), job.ID, follow, raw)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job has ended")
	rawFlag(cmd, &raw)
	return cmd
}

// rawFlag opts out of the filter between a job's output and a terminal.
func rawFlag(cmd *cobra.Command, raw *bool) {
	cmd.Flags().BoolVar(raw, "raw", false, "on a terminal, print control sequences as they are")
}

// copyLog copies a job's output to standard output: byte for byte, but on a
// terminal without what could drive it.
func (a *app) copyLog(ctx context.Context, id string, follow, raw bool) error {
	log, err := a.api().Log(ctx, id, 0, follow)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	if a.json {
		return a.copyLines(id, log)
	}
	to, done := a.out.Job(raw, a.palette().On())
	_, err = io.Copy(to, log)
	return errors.Join(err, done())
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
