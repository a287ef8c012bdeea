package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// fieldRule is what one of the five fields may hold.
type fieldRule struct {
	name   string
	lo, hi int
	steps  int      // how many values there are, the largest step
	names  []string // of the values from lo on
}

// fieldRules are the five fields in their order.
func fieldRules() [5]fieldRule {
	return [5]fieldRule{
		{name: "minute", hi: 59, steps: 60},
		{name: "hour", hi: 23, steps: 24},
		{name: "day of month", lo: 1, hi: 31, steps: 31},
		{name: "month", lo: 1, hi: 12, steps: 12, names: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
		{name: "weekday", hi: 7, steps: 7, names: weekdays()},
	}
}

// weekdays are the names of the days, Sunday first.
func weekdays() []string { return []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

// check refuses a field that crontab(5) would not take. robfig/cron would let some
// of it through although it means nothing ("*-5", "", "*/70"), and words the rest
// without its place.
func (r fieldRule) check(field string) error {
	for item := range strings.SplitSeq(field, ",") {
		if err := r.checkItem(item); err != nil {
			return err
		}
	}
	return nil
}

// checkItem judges one item of a list: *, a value or a range, each with or without
// a step.
func (r fieldRule) checkItem(item string) error {
	span, step, stepped := strings.Cut(item, "/")
	if err := r.checkSpan(span); err != nil {
		return err
	}
	if !stepped {
		return nil
	}
	n, ok := number(step)
	if !ok || n < 1 {
		return fmt.Errorf("step %q is not a positive number", step)
	}
	if n > r.steps {
		return fmt.Errorf("step %d is larger than the field, which has %d values", n, r.steps)
	}
	return nil
}

// checkSpan judges *, a value or a range.
func (r fieldRule) checkSpan(span string) error {
	lo, hi, ranged := strings.Cut(span, "-")
	switch {
	case lo == "" || ranged && hi == "":
		return errors.New("a value is missing")
	case lo == "*" || lo == "?":
		if ranged {
			return fmt.Errorf("%q is not a range", span)
		}
		return nil
	}
	first, err := r.value(lo)
	if err != nil || !ranged {
		return err
	}
	last, err := r.value(hi)
	if err != nil {
		return err
	}
	if last == 0 && r.hi == 7 && first > 0 {
		last = 7 // fri-sun
	}
	if first > last {
		return fmt.Errorf("range %q goes backwards", span)
	}
	return nil
}

// value reads one value, a number or a name.
func (r fieldRule) value(text string) (int, error) {
	if i := slices.Index(r.names, strings.ToLower(text)); i >= 0 {
		return r.lo + i, nil
	}
	n, ok := number(text)
	switch {
	case !ok && len(r.names) > 0:
		return 0, fmt.Errorf("%q is neither a number nor a name such as %s", text, r.names[0])
	case !ok:
		return 0, fmt.Errorf("%q is not a number", text)
	case n < r.lo || n > r.hi:
		return 0, fmt.Errorf("%d is out of range, want %d to %d", n, r.lo, r.hi)
	}
	return n, nil
}

// number reads digits alone: no sign, and nothing that would overflow.
func number(text string) (int, bool) {
	if text == "" || len(text) > 9 || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

// normalizeSunday rewrites weekday 7, which robfig/cron does not know, and ranges
// that end with Sunday ("5-7", "fri-sun") as lists of the days they mean. The field
// was checked.
func normalizeSunday(field string) string {
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
			continue // robfig/cron knows it
		}
		if !ranged {
			last = 7
		}
		items[i] = days(first, last, step)
	}
	return strings.Join(items, ",")
}

// days lists the weekdays from first to last, 7 written as 0.
func days(first, last int, step string) string {
	by := 1
	if n, ok := number(step); ok && n > 0 {
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
	if i := slices.Index(weekdays(), strings.ToLower(s)); i >= 0 {
		return i, true
	}
	n, ok := number(s)
	return n, ok && n <= 7
}
