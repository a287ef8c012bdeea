package dispatchers

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// maxDuration bounds durations, so that sums of them cannot overflow.
const maxDuration = 100 * 365 * 24 * time.Hour

// setter takes the value of one known key.
type setter func(*value)

// decoder gathers what is wrong with the values of one dispatcher's files, and
// which keys were set, by whom last.
type decoder struct {
	faults []Fault
	seen   map[string]*value
	count  int // all faults, also those beyond maxFaults
}

// newDecoder makes an empty decoder.
func newDecoder() *decoder { return &decoder{seen: map[string]*value{}} }

// take adds the faults of a document's form, but not what the library says
// about a value that has a fault already.
func (d *decoder) take(doc *document) {
	values := d.faults
	for _, f := range doc.faults {
		if !slices.ContainsFunc(values, func(v Fault) bool { return v.File == f.File && v.Row == f.Row && doc.checked }) {
			d.faults = append(d.faults, f)
			d.count++
		}
	}
}

// bad reports a fault at a value.
func (d *decoder) bad(v *value, suggestion, format string, args ...any) {
	d.report(v, v.at, suggestion, format, args...)
}

// report reports a fault at a place of a value's file.
func (d *decoder) report(v *value, at int, suggestion, format string, args ...any) {
	d.count++
	if len(d.faults) >= maxFaults {
		return
	}
	f := v.src.fault(at, v.path, format, args...)
	f.Suggestion = suggestion
	d.faults = append(d.faults, f)
}

// table gives each field of a table to the setter of its key. Unknown keys are
// faults; other says what else is known, as dotted paths.
func (d *decoder) table(t *value, keys map[string]setter, other []string) {
	if t.asked != nil {
		answerTable(t, keys)
		return
	}
	if !d.is(t, unstable.Table, "a table") {
		return
	}
	known := slices.Sorted(maps.Keys(keys))
	for _, v := range t.fields {
		if set, ok := keys[v.name]; ok {
			// The last layer that sets a key is the one to blame where keys
			// contradict each other.
			d.seen[v.path] = v
			set(v)
			continue
		}
		if len(d.faults) >= maxFaults {
			d.count++ // the search for a nearest key is not free
			continue
		}
		d.report(v, v.keyAt, d.elsewhere(v.name, known, other), "unknown key")
	}
}

// elsewhere suggests a key: the same word in another table first, since a line
// below a [table] belongs to the table, then the nearest of this one.
func (d *decoder) elsewhere(name string, known, other []string) string {
	for _, path := range other {
		if path == name {
			return fmt.Sprintf("did you mean the top-level key %s? It stands above the first [table]", path)
		}
		if strings.HasSuffix(path, "."+name) {
			return fmt.Sprintf("did you mean %s?", path)
		}
	}
	return meant(name, known)
}

// is reports whether a value has a kind, and the fault when not.
func (d *decoder) is(v *value, kind unstable.Kind, want string) bool {
	if v.kind == kind {
		return true
	}
	d.bad(v, "", "want %s, not %s", want, v.kindName())
	return false
}

// text sets a string. Zero bytes fit no argument, variable or path.
func (d *decoder) text(to *string, check func(string) string) setter {
	return func(v *value) {
		if v.answer(Schema{"type": "string"}) || !d.is(v, unstable.String, "a string") {
			return
		}
		if d.printableText(v) && d.checked(v, check) {
			*to = v.text
		}
	}
}

// printableText refuses zero bytes.
func (d *decoder) printableText(v *value) bool {
	if strings.ContainsRune(v.text, 0) {
		d.bad(v, "", "contains a zero byte")
		return false
	}
	return true
}

// checked reports what check says about a string.
func (d *decoder) checked(v *value, check func(string) string) bool {
	if check == nil {
		return true
	}
	if wrong := check(v.text); wrong != "" {
		d.bad(v, "", "%s", wrong)
		return false
	}
	return true
}

// choice sets a word that is one of a few.
func choice[T ~string](d *decoder, to *T, words ...T) setter {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return func(v *value) {
		list := strings.Join(texts, ", ")
		if v.answer(Schema{"enum": texts}) || !d.is(v, unstable.String, "one of "+list) {
			return
		}
		if !slices.Contains(texts, v.text) {
			d.bad(v, meant(v.text, texts), "%q is not one of %s", clip(v.text), list)
			return
		}
		*to = T(v.text)
	}
}

// boolean sets true or false.
func (d *decoder) boolean(to *bool) setter {
	return func(v *value) {
		if !v.answer(Schema{"type": "boolean"}) && d.is(v, unstable.Bool, "true or false") {
			*to = v.text == "true"
		}
	}
}

// integer sets a whole number within bounds.
func (d *decoder) integer(to *int, lo, hi int64) setter {
	return func(v *value) {
		if v.answer(whole(lo, hi)) {
			return
		}
		if n, ok := d.number(v, lo, hi); ok {
			*to = int(n)
		}
	}
}

// number reads a whole number within bounds.
func (d *decoder) number(v *value, lo, hi int64) (int64, bool) {
	if !d.is(v, unstable.Integer, "an integer") {
		return 0, false
	}
	n, ok := v.integer()
	switch {
	case ok && n < lo, !ok && strings.HasPrefix(v.text, "-"):
		d.bad(v, "", "%s is too small, want at least %d", clip(v.text), lo)
	case !ok || n > hi:
		d.bad(v, "", "%s is too large, want at most %d", clip(v.text), hi)
	default:
		return n, true
	}
	return 0, false
}

// duration sets "90s", "5m", "1h30m" or whole seconds, at least lo.
func (d *decoder) duration(to *time.Duration, lo time.Duration) setter {
	return func(v *value) {
		if v.answer(either(whole(int64(lo/time.Second), int64(maxDuration/time.Second)), durationPattern)) {
			return
		}
		if n, ok := d.span(v); ok {
			switch {
			case n < lo:
				d.bad(v, "", "%s is too short, want at least %s", durationText(n), durationText(lo))
			case n > maxDuration:
				d.bad(v, "", "longer than 100 years")
			default:
				*to = n
			}
		}
	}
}

// span reads a duration.
func (d *decoder) span(v *value) (time.Duration, bool) {
	const want = `a duration such as "90s", "5m", "1h30m" or whole seconds`
	switch v.kind {
	case unstable.Integer:
		n, ok := d.number(v, math.MinInt32, int64(maxDuration/time.Second))
		return time.Duration(n) * time.Second, ok
	case unstable.String:
		n, err := time.ParseDuration(v.text)
		if err == nil {
			return n, true
		}
		// The two mistakes that people make: no unit, and days.
		hint := ""
		if _, err := strconv.Atoi(v.text); err == nil {
			hint = fmt.Sprintf(`write %s or "%ss"`, v.text, v.text)
		} else if days, ok := strings.CutSuffix(v.text, "d"); ok {
			if n, err := strconv.ParseInt(days, 10, 32); err == nil && n >= 0 {
				hint = fmt.Sprintf(`days have no unit, write "%dh"`, n*24)
			}
		}
		d.bad(v, hint, "%q is not %s", clip(v.text), want)
	default:
		d.bad(v, "", "want %s, not %s", want, v.kindName())
	}
	return 0, false
}

// sizeOf reads a size as people write it, such as 64 KiB: a number and how many
// bits its unit shifts it.
func sizeOf(text string) (n int64, shift int, ok bool) {
	rest := strings.TrimLeft(text, "0123456789")
	digits := text[:len(text)-len(rest)]
	if len(digits) > 15 {
		return 0, 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	shift, ok = map[string]int{"B": 0, "KiB": 10, "MiB": 20, "GiB": 30}[strings.TrimPrefix(rest, " ")]
	return n, shift, ok && err == nil
}

// size sets bytes as an integer or as "64 KiB", at least lo.
func (d *decoder) size(to *int64, lo int64) setter {
	return func(v *value) {
		const most = int64(1) << 50 // a PiB; sums of sizes cannot overflow
		if v.answer(either(whole(lo, most), sizePattern)) {
			return
		}
		if v.kind == unstable.Integer {
			if n, ok := d.number(v, lo, most); ok {
				*to = n
			}
			return
		}
		if !d.is(v, unstable.String, `bytes as an integer or a size such as "64 KiB"`) {
			return
		}
		n, shift, ok := sizeOf(v.text)
		if !ok {
			d.bad(v, "the units are B, KiB, MiB and GiB", "%q is no size", clip(v.text))
			return
		}
		if n > most>>shift || n<<shift < lo {
			d.bad(v, "", "%s is out of range, want %d to %d bytes", v.text, lo, most)
			return
		}
		*to = n << shift
	}
}

// list sets strings; check looks at each of them.
func (d *decoder) list(to *[]string, check func(string) string) setter {
	return func(v *value) {
		if v.answer(Schema{"type": "array", "items": Schema{"type": "string"}}) || !d.is(v, unstable.Array, "a list of strings") {
			return
		}
		// All elements are looked at, so that all their faults are reported;
		// a list with a bad one is not taken at all.
		got, good := []string{}, true
		for _, item := range v.items {
			if !d.is(item, unstable.String, "a string") || !d.printableText(item) || !d.checked(item, check) {
				good = false
				continue
			}
			got = append(got, item.text)
		}
		if good {
			*to = got
		}
	}
}

// distinct refuses a list with the same word twice, after set has taken it.
func (d *decoder) distinct(set setter) setter {
	return func(v *value) {
		set(v)
		if v.answer(Schema{"uniqueItems": true}) {
			return
		}
		seen := map[string]bool{}
		for _, item := range v.items {
			if item.kind == unstable.String && seen[item.text] {
				d.bad(item, "", "%q is in the list twice", clip(item.text))
			}
			seen[item.text] = true
		}
	}
}

// codes sets exit codes, at least one.
func (d *decoder) codes(to *[]int) setter {
	return func(v *value) {
		if v.answer(Schema{"type": "array", "minItems": 1, "items": whole(0, 255)}) || !d.is(v, unstable.Array, "a list of exit codes") {
			return
		}
		if len(v.items) == 0 {
			d.bad(v, "", "is empty, want at least one exit code")
			return
		}
		got, before := []int{}, len(d.faults)
		for _, item := range v.items {
			n, ok := d.number(item, 0, 255)
			if ok {
				got = append(got, int(n))
			}
		}
		if len(d.faults) == before {
			*to = got
		}
	}
}
