package main

import (
	"errors"
	"strconv"
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
		Long: `schedule lists the dispatchers that have a schedule: LAST is the due time that led to a job
last, LAST RUN the run that began last, whoever asked for it, and NEXT when it is due next.
Due times are MISSED that passed with no daemon there, SKIPPED that found a run active or
waiting, REFUSED whose job was refused. With --spec it shows what an expression means, and
asks no daemon.`,
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
	zone, err := a.zone(s.zone)
	if err != nil {
		return err
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

// zone is the zone of --tz, and the machine's without it.
func (a *app) zone(name string) (*time.Location, error) {
	var zones scheduler.Zones
	if name == "" {
		zone, err := zones.Local()
		if err != nil {
			a.talk("the machine's time zone: %v", err)
		}
		return zone, nil
	}
	zone, err := zones.Load(name)
	if errors.Is(err, scheduler.ErrNoZones) {
		return nil, console.Usage("install the package tzdata", "--tz: %v", err)
	}
	if err != nil {
		return nil, console.Usage("use an IANA name such as Europe/Berlin", "--tz: %v", err)
	}
	return zone, nil
}

// preview shows when an expression is due, one time a line.
func (a *app) preview(s *scheduling, zone *time.Location) error {
	parsed, err := scheduler.Parse(s.spec, zone)
	if err != nil {
		return console.Usage("examples: daily, '30 2 * * *', '@every 15m'", "--spec: %s", strings.TrimPrefix(err.Error(), "schedule: "))
	}
	at := time.Now().In(zone)
	if s.from != "" {
		if at, err = parseTime("--from", s.from, at); err != nil {
			return err
		}
	}
	for range s.next {
		if at = parsed.Next(at); at.IsZero() {
			return nil
		}
		if !a.json {
			a.printf("%s", at.Format(showTime))
		} else if err := a.print(map[string]time.Time{"due": at}); err != nil {
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
	t := a.table("DISPATCHER", "SCHEDULE", "ZONE", "LAST", "LAST RUN", "NEXT", "MISSED", "SKIPPED", "REFUSED")
	for _, s := range list {
		zoned := s.Timezone
		if zoned == "" {
			zoned = "local"
		}
		last := "-"
		if s.Last != nil {
			last = s.Last.In(zone).Format(showTime)
		}
		t.Row(s.Dispatcher, strings.Join(s.Schedule, ", "), zoned, last, lastRun(s), nextOf(s, zone, 0), missed(s), s.Skipped, s.Refused)
		for i := 1; i < len(s.Next); i++ {
			t.Row("", "", "", "", "", nextOf(s, zone, i), "", "", "")
		}
	}
	if err := a.show(t); err != nil {
		return err
	}
	for _, s := range list {
		if s.Fault != "" {
			a.talk("%s: its schedule is not in force: %s", s.Dispatcher, s.Fault)
		}
		if s.Why != "" {
			a.talk("%s: %s led to no job: %s", s.Dispatcher, whyDue(s, zone), s.Why)
		}
		if s.Skipped > 0 && s.LastSkipped != nil && s.Why == "" {
			a.talk("%s: the last due time that was skipped was %s", s.Dispatcher, s.LastSkipped.In(zone).Format(showTime))
		}
		if s.Paused {
			a.talk("%s is paused: due runs are queued until: dispatchctl resume %s", s.Dispatcher, s.Dispatcher)
		}
	}
	return nil
}

// whyDue names the due time that led to no job.
func whyDue(s ipc.Schedule, zone *time.Location) string {
	if s.WhyDue == nil { // from a daemon of before
		return "the due time before"
	}
	return "the due time " + s.WhyDue.In(zone).Format(showTime)
}

// lastRun is the end of the run that began last, and when it began.
func lastRun(s ipc.Schedule) string {
	if s.LastRun == nil {
		return "-"
	}
	return string(s.LastRun.State) + " " + ago(s.LastRun.StartedAt)
}

// missed is how many due times were missed.
func missed(s ipc.Schedule) string {
	if s.MissedMore {
		return strconv.FormatInt(s.Missed, 10) + "+"
	}
	return strconv.FormatInt(s.Missed, 10)
}

// nextOf is one of the next times.
func nextOf(s ipc.Schedule, zone *time.Location, i int) string {
	if i >= len(s.Next) {
		if s.Fault != "" {
			return "not in force"
		}
		return "never"
	}
	return s.Next[i].In(zone).Format(showTime)
}
