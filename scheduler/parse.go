package scheduler

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// minEvery is the shortest interval that @every takes.
const minEvery = time.Minute

// maxSpec bounds the text of a schedule; a real one is far shorter.
const maxSpec = 512

// Parse reads crontab(5)'s words with or without their @ (hourly, @daily, …), five
// cron fields (weekday 7 is Sunday) or @every with at least a minute. Times are
// those of loc, nil is the local zone. It never panics, and refuses what
// robfig/cron would misread: zone prefixes, steps larger than their field, and
// what never fires.
func Parse(spec string, loc *time.Location) (Schedule, error) {
	if loc == nil {
		loc = time.Local
	}
	s := Schedule{text: strings.Join(strings.Fields(spec), " "), loc: loc}
	switch {
	case s.text == "":
		return Schedule{}, errors.New("schedule: is empty")
	case len(spec) > maxSpec:
		return Schedule{}, fmt.Errorf("schedule: longer than %d bytes", maxSpec)
	case strings.Contains(s.text, "="):
		// robfig/cron panics on "TZ=0" and hides the zone in the text else.
		return Schedule{}, errors.New("schedule: a time zone does not belong here, set timezone instead")
	case strings.HasPrefix(s.text, "@") && named(s.text) == "":
		return s.parseEvery()
	}
	fields, err := splitFields(s.text)
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: %w", s.text, err)
	}
	return s.parseFields(fields)
}

// parseEvery reads "@every 15m".
func (s Schedule) parseEvery() (Schedule, error) {
	text, ok := strings.CutPrefix(s.text, "@every ")
	switch {
	case ok:
	case s.text == "@reboot":
		return Schedule{}, fmt.Errorf("schedule %q: set run_on_start = true in place of it", s.text)
	default:
		return Schedule{}, fmt.Errorf("schedule %q: no such word, want one of %s, or @every 15m", s.text, strings.Join(words(), ", "))
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: %q is no duration such as 15m or 1h30m", s.text, text)
	}
	if d < minEvery {
		return Schedule{}, fmt.Errorf("schedule %q: shorter than a minute", s.text)
	}
	s.every = d.Truncate(time.Second)
	return s, nil
}

// starBit is how robfig/cron marks a day field that restricts nothing: the other
// one alone decides then, or both together.
const starBit = 1 << 63

// parseFields gives the checked fields to robfig/cron, on a clock without zone.
func (s Schedule) parseFields(fields []string) (Schedule, error) {
	for i, rule := range fieldRules() {
		if err := rule.check(fields[i]); err != nil {
			return Schedule{}, fmt.Errorf("schedule %q: %s field %q: %w", s.text, rule.name, fields[i], err)
		}
	}
	given := strings.Join([]string{fields[0], fields[1], fields[2], fields[3], normalizeSunday(fields[4])}, " ")
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(given)
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: %w", s.text, err)
	}
	wall, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Schedule{}, fmt.Errorf("schedule %q: not five fields", s.text)
	}
	wall.Location = time.UTC
	wall.Dom, wall.Dow = starred(wall.Dom, fields[2]), starred(wall.Dow, fields[4])
	s.wall, s.anyHour = wall, wall.Hour&allHours == allHours
	// Days up to the 29th come in every month sooner or later.
	if wall.Dom&(1<<30-1) == 0 && s.nextWall(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Schedule{}, fmt.Errorf("schedule %q: never fires, there is no such day", s.text)
	}
	return s, nil
}

// starred marks a day field as crontab(5) does, by its first character alone: a
// day must fit both fields if one of them begins with *, else one of them is
// enough. robfig/cron drops the mark where the star has a step, so that
// "0 16 */2 * SAT" would run on every odd day and on every Saturday, and sets it
// for a star further on in a list.
func starred(days uint64, field string) uint64 {
	if strings.HasPrefix(field, "*") || strings.HasPrefix(field, "?") {
		return days | starBit
	}
	return days &^ starBit
}

// words lists the words that stand for five fields.
func words() []string {
	return []string{"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"}
}

// named is the cron form of a word of crontab(5), with or without its @; "" for
// one that is not known.
func named(word string) string {
	switch strings.TrimPrefix(word, "@") {
	case "hourly":
		return "0 * * * *"
	case "daily", "midnight":
		return "0 0 * * *"
	case "weekly":
		return "0 0 * * 0"
	case "monthly":
		return "0 0 1 * *"
	case "yearly", "annually":
		return "0 0 1 1 *"
	case "every_minute": // FreeBSD's
		return "* * * * *"
	}
	return ""
}

// splitFields makes five fields of a text.
func splitFields(text string) ([]string, error) {
	if form := named(text); form != "" {
		text = form
	}
	fields := strings.Fields(text)
	switch {
	case len(fields) == 5:
		return fields, nil
	case fields[0] == "every":
		return nil, errors.New("write it with an @, as in @every 15m")
	case len(fields) == 1:
		return nil, fmt.Errorf("no such word, want one of %s, @every 15m, or 5 cron fields", strings.Join(words(), ", "))
	}
	return nil, fmt.Errorf("want a word such as @daily, @every 15m, or 5 cron fields, found %d fields", len(fields))
}
