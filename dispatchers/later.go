package dispatchers

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// laterKeys are the keys whose behaviour a later stage brings. Their values are
// checked as they will be, and then refused: what is set is never ignored.
func (d *decoder) laterKeys() map[string]setter {
	// The values go nowhere: a Spec gets fields for them with their stages.
	var words []string
	keys := map[string]setter{
		"on_success": d.distinct(d.list(&words, dispatcherName)),
		"on_failure": d.distinct(d.list(&words, dispatcherName)),
		"arguments":  d.argumentTypes,
		"limits":     d.nested(d.limitKeys),
		"access":     d.nested(d.accessKeys),
		"confirm":    d.nested(d.confirmKeys),
	}
	for name, set := range maps.Clone(keys) {
		keys[name] = d.refused(set)
	}
	return keys
}

// refused says that a key is not supported yet, once its value is good.
func (d *decoder) refused(set setter) setter {
	return func(v *value) {
		// A bad value is the better news: it stays bad in the later version.
		before := d.count
		set(v)
		if d.count == before {
			d.report(v, v.keyAt, "take it out until a later version brings it", "is not supported yet")
		}
	}
}

// nested takes a table whose keys are all for later.
func (d *decoder) nested(keys func() map[string]setter) setter {
	return func(v *value) { d.table(v, keys(), nil) }
}

// limitKeys are the keys of [limits].
func (d *decoder) limitKeys() map[string]setter {
	var size int64
	var n int
	return map[string]setter{
		"memory": d.size(&size, 0), "file_size": d.size(&size, 0), "core": d.size(&size, 0),
		"processes": d.integer(&n, 1, math.MaxInt32), "open_files": d.integer(&n, 4, math.MaxInt32),
		"cpu_seconds": d.integer(&n, 1, math.MaxInt32), "nice": d.integer(&n, -20, 19),
	}
}

// accessKeys are the keys of [access].
func (d *decoder) accessKeys() map[string]setter {
	var words []string
	who := func(s string) string { return account(strings.TrimPrefix(s, "@")) }
	return map[string]setter{
		"notify": d.distinct(d.list(&words, who)), "read": d.distinct(d.list(&words, who)),
		"cancel": d.distinct(d.list(&words, who)),
	}
}

// confirmKeys are the keys of [confirm].
func (d *decoder) confirmKeys() map[string]setter {
	var span time.Duration
	var command Spec
	return map[string]setter{"within": d.duration(&span, time.Second), "rollback": d.command(&command)}
}

// argumentTypes takes [arguments]: name = "type", or a table with more rules.
func (d *decoder) argumentTypes(v *value) {
	if !d.is(v, unstable.Table, "a table from name to type") {
		return
	}
	types := []string{"string", "integer", "number", "boolean", "array", "object"}
	var word string
	var flag bool
	for _, field := range v.fields {
		if field.kind != unstable.Table {
			choice(d, &word, types...)(field)
			continue
		}
		if field.names["type"] == nil {
			d.bad(field, "", "has no type, want one of %s", strings.Join(types, ", "))
		}
		d.table(field, map[string]setter{
			"type": choice(d, &word, types...), "required": d.boolean(&flag), "pattern": d.text(&word, pattern),
			"enum": d.enum, "min": d.bound, "max": d.bound,
		}, nil)
	}
}

// enum takes a list of values.
func (d *decoder) enum(v *value) {
	if d.is(v, unstable.Array, "a list of values") && len(v.items) == 0 {
		d.bad(v, "leave the key out", "is empty")
	}
}

// bound takes a number.
func (d *decoder) bound(v *value) {
	if !slices.Contains([]unstable.Kind{unstable.Integer, unstable.Float}, v.kind) {
		d.bad(v, "", "want a number, not %s", v.kindName())
	}
}

// pattern checks a regular expression.
func pattern(s string) string {
	if _, err := regexp.Compile(s); err != nil {
		return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	}
	return ""
}

// dispatcherName checks one name of on_success and on_failure.
func dispatcherName(s string) string {
	if !ValidName(s) {
		return "is no name of a dispatcher"
	}
	return ""
}
