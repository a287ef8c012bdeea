package dispatchers

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"dispatchd/scheduler"
)

// maxDuration bounds durations, so that sums of them cannot overflow.
const maxDuration = 100 * 365 * 24 * time.Hour

// maxSize bounds sizes in the same way: a PiB.
const maxSize = int64(1) << 50

// decoder gathers the faults of one dispatcher's files, and the keys that they
// set. All layers share one decoder.
type decoder struct {
	faults []Fault
	seen   map[string]*value // by path: the value of the last layer that sets it
	count  int               // all faults, also those beyond maxFaults
	top    []string          // the file's top-level keys, for suggestions
	zones  *scheduler.Zones
}

// newDecoder makes an empty decoder.
func newDecoder() *decoder {
	return &decoder{seen: map[string]*value{}, zones: &scheduler.Zones{}}
}

// addSyntaxFaults adds the faults of a document's form. It leaves out those that
// the library reports in a line which has a fault of ours already: that one says
// more.
func (d *decoder) addSyntaxFaults(doc *document) {
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

// is reports whether a value has a kind, and the fault when not.
func (d *decoder) is(v *value, kind unstable.Kind, want string) bool {
	if v.kind == kind {
		return true
	}
	d.bad(v, "", "want %s, not %s", want, v.kindName())
	return false
}

// printableText refuses zero bytes: the kernel ends an argument, a variable and
// a path at the first one.
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

// duration reads "90s", "5m", "1h30m" or whole seconds.
func (d *decoder) duration(v *value) (time.Duration, bool) {
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
		// The two frequent mistakes are a missing unit and days.
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

// sizeOf reads a size such as 64 KiB: a number, and by how many bits its unit
// shifts it.
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

// size reads bytes as an integer or as "64 KiB", at least lo.
func (d *decoder) size(v *value, lo int64) (int64, bool) {
	if v.kind == unstable.Integer {
		return d.number(v, lo, maxSize)
	}
	if !d.is(v, unstable.String, `bytes as an integer or a size such as "64 KiB"`) {
		return 0, false
	}
	n, shift, ok := sizeOf(v.text)
	switch {
	case !ok:
		d.bad(v, "the units are B, KiB, MiB and GiB", "%q is no size", clip(v.text))
		return 0, false
	case n > maxSize>>shift || n<<shift < lo:
		d.bad(v, "", "%s is out of range, want %d to %d bytes", v.text, lo, maxSize)
		return 0, false
	}
	return n << shift, true
}

// texts reads a list of strings; check judges each of them. All are judged, so
// that all their faults are reported; a list with a bad one is not taken at all.
func (d *decoder) texts(v *value, check func(string) string) ([]string, bool) {
	if !d.is(v, unstable.Array, "a list of strings") {
		return nil, false
	}
	got, good := []string{}, true
	for _, item := range v.items {
		if !d.is(item, unstable.String, "a string") || !d.printableText(item) || !d.checked(item, check) {
			good = false
			continue
		}
		got = append(got, item.text)
	}
	return got, good
}

// exitCodes reads a list of exit statuses, at least one.
func (d *decoder) exitCodes(v *value) ([]int, bool) {
	if !d.is(v, unstable.Array, "a list of exit codes") {
		return nil, false
	}
	if len(v.items) == 0 {
		d.bad(v, "", "is empty, want at least one exit code")
		return nil, false
	}
	got, before := []int{}, d.count
	for _, item := range v.items {
		if n, ok := d.number(item, 0, 255); ok {
			got = append(got, int(n))
		}
	}
	return got, d.count == before
}
