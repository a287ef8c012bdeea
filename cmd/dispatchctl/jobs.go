package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// jobsVerb lists jobs.
func (a *app) jobsVerb() *cobra.Command {
	var f ipc.JobFilter
	var wanted []string
	var since string
	var failed bool
	cmd := &cobra.Command{
		Use: "jobs [NAME]", Short: "List jobs, newest first", Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.Dispatcher = args[0]
			}
			if f.Limit < 1 {
				return console.Usage("use a number above zero", "--limit: %d is not possible", f.Limit)
			}
			if failed {
				f.States = ipc.FailedStates()
			}
			for _, state := range wanted {
				if err := console.OneOf("state", state, states()); err != nil {
					return err
				}
				f.States = append(f.States, ipc.State(state))
			}
			var err error
			if f.Since, err = parseTime("--since", since, time.Now()); err != nil {
				return err
			}
			jobs, err := a.listOf(cmd.Context(), f)
			if err != nil {
				return err
			}
			return a.jobTable(jobs)
		},
	}
	cmd.Flags().StringSliceVar(&wanted, "state", nil, "only jobs in this `STATE`; with commas between, or given several times: in one of these")
	cmd.Flags().BoolVar(&failed, "failed", false, "only jobs that ended as nobody wished: failed, timed_out, expired or interrupted")
	cmd.Flags().StringVar(&since, "since", "", "only jobs accepted since `WHEN`: 90m, 7d, 14:30, 2026-11-05, or RFC 3339")
	cmd.Flags().IntVar(&f.Limit, "limit", 20, "at most `N`")
	cmd.Flags().StringSliceVar(&f.Fields, "fields", nil, "with --json: what a list leaves out unless it is asked for, `arguments` or result, with commas between")
	_ = cmd.RegisterFlagCompletionFunc("state", listOf(states()...))
	_ = cmd.RegisterFlagCompletionFunc("fields", words("arguments", "result"))
	_ = cmd.RegisterFlagCompletionFunc("since", words("1h", "1d", "7d"))
	return cmd
}

// states are the names of the job states.
func states() []string {
	var list []string
	for _, s := range ipc.States() {
		list = append(list, string(s))
	}
	return list
}

// parseTime reads the value of a flag, how long ago or when, in the zone of now; ""
// is the zero time.
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		t, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		year, month, day := now.Date()
		at := time.Date(year, month, day, t.Hour(), t.Minute(), t.Second(), 0, now.Location())
		if at.After(now) { // 23:30, asked at one in the morning
			at = at.AddDate(0, 0, -1)
		}
		return at, nil
	}
	return time.Time{}, console.Usage("use 90m, 7d, 14:30, 2026-11-05, 2026-11-05T14:30 or 2026-11-05T14:30:00Z", "%s: %q is no time", flag, text)
}

// jobTable prints jobs, a line each.
func (a *app) jobTable(jobs []ipc.Job) error {
	if a.json {
		return printLines(&a.screen, jobs)
	}
	if len(jobs) == 0 {
		a.talk("there are no such jobs")
		return nil
	}
	t := a.table("JOB", "DISPATCHER", "STATE", "CREATED", "TOOK", "WHY")
	for _, j := range jobs {
		t.Row(j.ID, j.Dispatcher, console.State(j.State), ago(j.CreatedAt), took(j), because(j))
	}
	return a.show(t)
}

// took is how long a job ran, or has run.
func took(j ipc.Job) string {
	switch {
	case j.StartedAt == nil || j.State == ipc.Queued:
		return "-"
	case j.EndedAt == nil:
		return round(time.Since(*j.StartedAt)) + "+" // it goes on
	}
	return round(j.EndedAt.Sub(*j.StartedAt))
}

// round cuts a duration to the precision that people read.
func round(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// because is why a job waits or failed, or its progress.
func because(j ipc.Job) string {
	switch {
	case j.Error != nil:
		return j.Error.Message
	case j.WaitingFor != nil:
		return waits(*j.WaitingFor)
	case j.Progress != nil && j.Progress.Percent != nil:
		return strings.TrimSpace(strconv.FormatFloat(*j.Progress.Percent, 'f', 0, 64) + "% " + j.Progress.Message)
	case j.Progress != nil:
		return j.Progress.Message
	}
	return ""
}
