package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
	"dispatchd/scheduler"
)

// scheduling are the flags of schedule.
type scheduling struct {
	next int
	spec string
	zone string
	from string
}

// scheduleVerb shows when dispatchers are due.
func (a *app) scheduleVerb() *cobra.Command {
	s := &scheduling{}
	cmd := &cobra.Command{
		Use: "schedule [NAME]", Short: "Show when dispatchers are due, or what an expression means",
		Long: `schedule lists the dispatchers that have a schedule, the due time that was dealt with last and
those that come next, and what was missed or refused. With --spec it shows what an
expression means, and asks no daemon.`,
		Example: `  dispatchctl schedule apply --next 5 --tz UTC
  dispatchctl schedule --spec '30 2 * * *' --tz Europe/Berlin --next 10`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error { return a.schedule(cmd, s, args) },
	}
	f := cmd.Flags()
	f.IntVar(&s.next, "next", 1, "show the next `N` times, at most 100")
	f.StringVar(&s.spec, "spec", "", "show when this `EXPR` is due, without a daemon")
	f.StringVar(&s.zone, "tz", "", "show times in this `ZONE`; with --spec, the zone that it is meant in (default this machine's)")
	f.StringVar(&s.from, "from", "", "with --spec, begin at `WHEN` instead of now")
	_ = cmd.RegisterFlagCompletionFunc("spec", words("hourly", "daily", "weekly", "monthly", "yearly"))
	return cmd
}

// schedule runs the verb.
func (a *app) schedule(cmd *cobra.Command, s *scheduling, args []string) error {
	if s.next < 1 || s.next > 100 {
		return console.Usage("use a number from 1 to 100", "--next: %d is not possible", s.next)
	}
	zone := time.Local
	if s.zone != "" {
		var err error
		if zone, err = time.LoadLocation(s.zone); err != nil {
			return console.Usage("use an IANA name such as Europe/Berlin", "--tz: %q is no time zone known here", s.zone)
		}
	}
	switch {
	case s.spec != "" && len(args) > 0:
		return console.Usage("leave one of them out", "--spec and a dispatcher's name exclude each other")
	case s.spec != "":
		return a.preview(s, zone)
	case s.from != "":
		return console.Usage("add --spec", "--from works with --spec only")
	}
	q := ipc.ScheduleQuery{Next: s.next}
	if len(args) > 0 {
		q.Dispatcher = args[0]
	}
	list, err := a.api().Schedule(cmd.Context(), q)
	if err != nil {
		return err
	}
	if a.json {
		return printLines(&a.screen, list)
	}
	return a.scheduleTable(list, q.Dispatcher, zone)
}

// preview shows when an expression is due, one time a line.
func (a *app) preview(s *scheduling, zone *time.Location) error {
	parsed, err := scheduler.Parse(s.spec, zone)
	if err != nil {
		return console.Usage("examples: daily, '30 2 * * *', '@every 15m'", "--spec: %s", strings.TrimPrefix(err.Error(), "schedule: "))
	}
	at := time.Now().In(zone)
	if s.from != "" {
		if at, err = parseSince(s.from, at); err != nil {
			return err
		}
	}
	for range s.next {
		if at = parsed.Next(at); at.IsZero() {
			return nil
		}
		if !a.json {
			a.printf("%s", at.Format(showTime))
		} else if err := a.print(at); err != nil {
			return err
		}
	}
	return nil
}

// showTime is a due time for people: a weekday says more than a date.
const showTime = "Mon 2006-01-02 15:04:05 MST"

// scheduleTable is the list for people, and below it the due times that led to
// no job.
func (a *app) scheduleTable(list []ipc.Schedule, name string, zone *time.Location) error {
	if len(list) == 0 {
		if name != "" {
			a.talk("%s has no schedule", name)
		} else {
			a.talk("no dispatcher has a schedule")
		}
		return nil
	}
	t := a.table("DISPATCHER", "SCHEDULE", "ZONE", "LAST", "NEXT", "MISSED", "REFUSED")
	for _, s := range list {
		zoned := s.Timezone
		if zoned == "" {
			zoned = "local"
		}
		last := "-"
		if s.Last != nil {
			last = s.Last.In(zone).Format(showTime)
		}
		t.Row(s.Dispatcher, strings.Join(s.Schedule, ", "), zoned, last, nextOf(s, zone, 0), s.Missed, s.Refused)
		for i := 1; i < len(s.Next); i++ {
			t.Row("", "", "", "", nextOf(s, zone, i), "", "")
		}
	}
	if err := a.show(t); err != nil {
		return err
	}
	for _, s := range list {
		if s.Why != "" {
			a.talk("%s: the due time before led to no job: %s", s.Dispatcher, s.Why)
		}
		if s.Paused {
			a.talk("%s is paused: due runs are queued until: dispatchctl resume %s", s.Dispatcher, s.Dispatcher)
		}
	}
	return nil
}

// nextOf is one of the next times.
func nextOf(s ipc.Schedule, zone *time.Location, i int) string {
	if i >= len(s.Next) {
		return "never"
	}
	return s.Next[i].In(zone).Format(showTime)
}
