package dispatchers

import (
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/pelletier/go-toml/v2/unstable"
)

// keys maps every key of a dispatcher's file to what takes its value. Setting a
// key anew replaces its value, and that is how layers are merged key by key.
func (d *decoder) keys(s *Spec) map[string]setter {
	keys := map[string]setter{
		"description":        d.text(&s.Description, oneLine),
		"command":            d.command(s),
		"script":             d.text(&s.Script, notBlank),
		"php_class":          d.text(&s.PHPClass, className),
		"package_includes":   d.distinct(d.list(&s.PackageIncludes, absolutePath)),
		"required_packages":  d.distinct(d.list(&s.RequiredPackages, packageName)),
		"timeout":            d.duration(&s.Timeout, 0),
		"queue_timeout":      d.duration(&s.QueueTimeout, 0),
		"max_queue":          d.integer(&s.MaxQueue, 0, math.MaxInt32),
		"concurrency":        d.integer(&s.Concurrency, 1, 10_000),
		"coalesce":           d.boolean(&s.Coalesce),
		"coalesce_key":       d.notEmpty(d.distinct(d.list(&s.CoalesceKey, notBlank))),
		"debounce":           d.duration(&s.Debounce, 0),
		"debounce_max":       d.duration(&s.DebounceMax, 0),
		"locks":              d.locks(s),
		"cache":              d.cache(s),
		"retry":              d.retry(&s.Retry),
		"success_exit_codes": d.codes(&s.SuccessExitCodes),
		"kill_grace":         d.duration(&s.KillGrace, 0),
		"kill_mode":          choice(d, &s.KillMode, s.KillMode.Values()...),
		"survive_restart":    d.boolean(&s.SurviveRestart),
		"on_interrupt":       choice(d, &s.OnInterrupt, s.OnInterrupt.Values()...),
		"leftovers":          choice(d, &s.Leftovers, s.Leftovers.Values()...),
		"user":               d.text(&s.User, account),
		"group":              d.text(&s.Group, account),
		"umask":              d.umask(s),
		"working_directory":  d.text(&s.WorkingDirectory, absolutePath),
		"environment":        d.environment(s),
		"max_output":         d.size(&s.MaxOutput, 1),
		"durability":         choice(d, &s.Durability, s.Durability.Values()...),
	}
	maps.Copy(keys, d.timingKeys(&s.Timing))
	maps.Copy(keys, d.laterKeys())
	return keys
}

// keysOfTables are the keys inside tables, to recognize one in a wrong place.
func keysOfTables() []string {
	return []string{
		"locks.exclusive", "locks.shared",
		"cache.max_age", "cache.stale_ok", "cache.format", "cache.max_size",
		"retry.attempts", "retry.backoff", "retry.max_backoff", "retry.exit_codes",
	}
}

// command takes an argv: what runs is an absolute path or a bare name that is
// looked up in the job's own PATH, never something below a working directory.
func (d *decoder) command(s *Spec) setter {
	take := d.list(&s.Command, nil)
	return func(v *value) {
		if v.answer(Schema{"type": "array", "minItems": 1, "items": Schema{"type": "string"}}) {
			return
		}
		before := d.count
		if v.kind == unstable.String {
			d.bad(v, `write ["/path/to/program", "argument"], or use script for a shell`, "want a list of strings, not a string")
			return
		}
		take(v)
		if d.count > before {
			return
		}
		switch {
		case len(v.items) == 0:
			d.bad(v, "", "is empty, want a program and its arguments")
		case strings.ContainsAny(v.items[0].text, " \t\n") && !filepath.IsAbs(v.items[0].text):
			d.bad(v.items[0], "write each argument as a string of its own, or use script for a shell", "%q is a command line, want the program alone", clip(v.items[0].text))
		case v.items[0].text == "":
			d.bad(v.items[0], "", "the program is empty")
		case !filepath.IsAbs(v.items[0].text) && strings.Contains(v.items[0].text, "/"), v.items[0].text == ".", v.items[0].text == "..":
			d.bad(v.items[0], "", "%q is neither an absolute path nor a bare name", clip(v.items[0].text))
		}
	}
}

// notEmpty refuses an empty list, after set has taken it.
func (d *decoder) notEmpty(set setter) setter {
	return func(v *value) {
		set(v)
		if !v.answer(Schema{"minItems": 1}) && v.kind == unstable.Array && len(v.items) == 0 {
			d.bad(v, "leave the key out", "is empty")
		}
	}
}

// locks takes the table of lock templates.
func (d *decoder) locks(s *Spec) setter {
	return func(v *value) {
		d.table(v, map[string]setter{
			"exclusive": d.distinct(d.list(&s.Exclusive, checkTemplate)),
			"shared":    d.distinct(d.list(&s.Shared, checkTemplate)),
		}, d.top())
	}
}

// retry takes the table of retries.
func (d *decoder) retry(r *Retry) setter {
	return func(v *value) {
		d.table(v, map[string]setter{
			"attempts":    d.integer(&r.Attempts, 0, 1000),
			"backoff":     d.duration(&r.Backoff, 0),
			"max_backoff": d.duration(&r.MaxBackoff, 0),
			"exit_codes":  d.codes(&r.ExitCodes),
		}, d.top())
	}
}

// top lists the top-level keys for suggestions.
func (d *decoder) top() []string {
	return slices.Sorted(maps.Keys(newDecoder().keys(&Spec{})))
}

// umask takes an octal string, or an integer written in octal: 22 without a
// mark could mean either, and a wrong guess opens files.
func (d *decoder) umask(s *Spec) setter {
	return func(v *value) {
		if v.answer(either(whole(0, 0o777), "^0*[0-7]{1,3}$")) {
			return
		}
		digits := v.text
		switch v.kind {
		case unstable.String: // always octal, as for umask(1)
		case unstable.Integer:
			if octal, ok := strings.CutPrefix(digits, "0o"); ok {
				digits = octal
			} else if n, ok := v.integer(); ok && n != 0 {
				d.bad(v, `write "0022" or 0o022`, "%s is not octal", clip(v.text))
				return
			}
		default:
			d.bad(v, "", `want an octal string such as "0022", not %s`, v.kindName())
			return
		}
		n, err := strconv.ParseUint(digits, 8, 16)
		if err != nil || n > 0o777 {
			d.bad(v, "", "%q is no umask, want 0000 to 0777 in octal", clip(v.text))
			return
		}
		s.Umask = int(n)
	}
}

// isVariable reports whether every shell takes a name for a variable's.
func isVariable(name string) bool { return made(name, "a_", "a0_", 256) }

// environment takes variables, one by one, so that layers are merged.
func (d *decoder) environment(s *Spec) setter {
	return func(v *value) {
		if v.answer(Schema{"type": "object", "additionalProperties": Schema{"type": "string"}}) || !d.is(v, unstable.Table, "a table of strings") {
			return
		}
		for _, field := range v.fields {
			name := field.name
			// What dispatchd tells the job must not be forged by a file, and a
			// number is probably a key that slipped below the table's header.
			switch {
			case !isVariable(name):
				d.report(field, field.keyAt, "", "is no name of a variable")
			case strings.HasPrefix(name, "DISPATCHD_") || name == "NOTIFY_SOCKET":
				d.report(field, field.keyAt, "", "is set by dispatchd itself")
			case field.kind != unstable.String && slices.Contains(d.top(), name):
				d.bad(field, d.elsewhere(name, nil, d.top()), "want a string, not %s", field.kindName())
			case d.is(field, unstable.String, "a string") && d.printableText(field):
				if s.Environment == nil {
					s.Environment = map[string]string{}
				}
				s.Environment[name] = field.text
			}
		}
	}
}

// className checks php_class: the name of a class, with or without its namespace.
func className(s string) string {
	for part := range strings.SplitSeq(strings.TrimPrefix(s, `\`), `\`) {
		if !made(part, "a_", "a0_", len(part)) {
			return "is no name of a PHP class"
		}
	}
	return ""
}

// oneLine is for what people read in lists.
func oneLine(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }) {
		return "has control characters, want one line of text"
	}
	return ""
}

// notBlank refuses what says nothing.
func notBlank(s string) string {
	if strings.TrimSpace(s) == "" {
		return "is empty"
	}
	return ""
}

// absolutePath wants a path that does not depend on a working directory.
func absolutePath(s string) string {
	if !filepath.IsAbs(s) {
		return "want an absolute path"
	}
	return ""
}

// packageName checks one name of required_packages. Options and patterns are
// kept away from the package manager.
func packageName(s string) string {
	if !made(s, "a0", "a0+._:@~/-", 200) {
		return "is no name of a package"
	}
	return ""
}

// account checks the name or number of a user or group.
func account(s string) string {
	if !made(strings.TrimSuffix(s, "$"), "a0_", "a0_.@-", 64) {
		return "is no name of a user or group"
	}
	return ""
}
