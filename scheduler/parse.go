package scheduler

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// minEvery is the shortest interval that @every takes.
const minEvery = time.Minute

// maxSpec bounds the text of a schedule; a real one is far shorter.
const maxSpec = 512

// Parse reads hourly, daily, weekly, monthly, five cron fields (weekday 7 is
// Sunday) or @every with at least a minute. Times are those of loc, nil is the
// local zone. It never panics, and refuses what robfig/cron would misread:
// zone prefixes, steps larger than their field, and what never fires.
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
	case strings.HasPrefix(s.text, "@"):
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
	if !ok {
		word := strings.TrimPrefix(s.text, "@")
		if named(word) != "" {
			return Schedule{}, fmt.Errorf("schedule %q: write %s without the @", s.text, word)
		}
		return Schedule{}, fmt.Errorf("schedule %q: after @ only every is known, as in @every 15m", s.text)
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

// parseFields gives the checked fields to robfig/cron, on a clock without zone.
func (s Schedule) parseFields(fields []string) (Schedule, error) {
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(strings.Join(fields, " "))
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: %w", s.text, err)
	}
	wall, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Schedule{}, fmt.Errorf("schedule %q: not five fields", s.text)
	}
	wall.Location = time.UTC
	s.wall, s.anyHour = wall, wall.Hour&allHours == allHours
	// Days up to the 29th come in every month sooner or later.
	if wall.Dom&(1<<30-1) == 0 && s.nextWall(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Schedule{}, fmt.Errorf("schedule %q: never fires, there is no such day", s.text)
	}
	return s, nil
}

// named is the cron form of a word, "" for one that is not known.
func named(word string) string {
	switch word {
	case "hourly":
		return "0 * * * *"
	case "daily":
		return "0 0 * * *"
	case "weekly":
		return "0 0 * * 0"
	case "monthly":
		return "0 0 1 * *"
	}
	return ""
}

// fieldRule is what one of the five fields may hold.
type fieldRule struct {
	name string
	size int // how many values there are, the largest step
}

// fieldRules are the five fields in their order.
func fieldRules() [5]fieldRule {
	return [5]fieldRule{{"minute", 60}, {"hour", 24}, {"day of month", 31}, {"month", 12}, {"weekday", 7}}
}

// splitFields makes five fields that robfig/cron reads as they are meant.
func splitFields(text string) ([]string, error) {
	if form := named(text); form != "" {
		text = form
	}
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return nil, fmt.Errorf("want hourly, daily, weekly, monthly, @every or 5 cron fields, found %d fields", len(fields))
	}
	for i, rule := range fieldRules() {
		for item := range strings.SplitSeq(fields[i], ",") {
			if err := checkItem(item, rule); err != nil {
				return nil, fmt.Errorf("%s field %q: %w", rule.name, fields[i], err)
			}
		}
	}
	var err error
	fields[4], err = normalizeSunday(fields[4])
	if err != nil {
		return nil, fmt.Errorf("weekday field %q: %w", fields[4], err)
	}
	return fields, nil
}

// checkItem refuses what robfig/cron lets through although it means nothing:
// empty items, "*-5", signs, and steps beyond the field.
func checkItem(item string, rule fieldRule) error {
	span, step, stepped := strings.Cut(item, "/")
	lo, hi, ranged := strings.Cut(span, "-")
	switch {
	case lo == "" || (ranged && hi == ""):
		return errors.New("a value is missing")
	case (lo == "*" || lo == "?") && ranged:
		return fmt.Errorf("%q is not a range", span)
	case strings.ContainsAny(item, "+ \t"):
		return fmt.Errorf("%q is not a number", item)
	}
	if !stepped {
		return nil
	}
	n, err := strconv.Atoi(step)
	if err != nil || n < 1 {
		return fmt.Errorf("step %q is not a positive number", step)
	}
	if n > rule.size {
		return fmt.Errorf("step %d is larger than the field, which has %d values", n, rule.size)
	}
	return nil
}

// normalizeSunday rewrites weekday 7, which robfig/cron does not know, and ranges that
// end with Sunday ("5-7", "fri-sun") as lists of the days they mean.
func normalizeSunday(field string) (string, error) {
	items := strings.Split(field, ",")
	for i, item := range items {
		span, step, _ := strings.Cut(item, "/")
		lo, hi, ranged := strings.Cut(span, "-")
		first, okFirst := weekday(lo)
		last, okLast := weekday(hi)
		if ranged && last == 0 && first > 0 {
			last = 7
		}
		if !okFirst || (ranged && !okLast) || (first != 7 && last != 7) {
			continue // nothing for us; robfig/cron has the word
		}
		if !ranged {
			last = 7
		}
		if first > last {
			return field, fmt.Errorf("range %q goes backwards", span)
		}
		items[i] = days(first, last, step)
	}
	return strings.Join(items, ","), nil
}

// days lists the weekdays from first to last, 7 written as 0.
func days(first, last int, step string) string {
	by := 1
	if n, err := strconv.Atoi(step); err == nil && n > 0 {
		by = n
	}
	var list []string
	for d := first; d <= last; d += by {
		list = append(list, strconv.Itoa(d%7))
	}
	return strings.Join(list, ",")
}

// weekday reads a number from 0 to 7 or an English name of three letters.
func weekday(s string) (int, bool) {
	for i, name := range [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} {
		if strings.EqualFold(s, name) {
			return i, true
		}
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0 && n <= 7
}
