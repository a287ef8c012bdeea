package dispatchers

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"dispatchd/dispatchers/mode"
	"dispatchd/scheduler"
)

// word is one of the words of a mode.
func word[S any, T mode.Word[T]](at func(*S) *T) field[S] {
	var zero T
	return choice(at, zero.Values()...)
}

// command is an argv. Its program is an absolute path, or a bare name to look up
// in the job's PATH: a path below a working directory could be anybody's.
func command(at func(*Spec) *[]string) field[Spec] {
	f := given(list(at, nil))
	decode, schema := f.decode, f.schema
	f.schema = func() Schema {
		s := schema()
		s["minItems"] = 1
		return s
	}
	f.decode = func(d *decoder, v *value, s *Spec) {
		before := d.count
		if v.kind == unstable.String {
			d.bad(v, `write ["/path/to/program", "argument"], or use script for a shell`, "want a list of strings, not a string")
			return
		}
		decode(d, v, s)
		if d.count > before {
			return
		}
		if len(v.items) == 0 {
			d.bad(v, "", "is empty, want a program and its arguments")
			return
		}
		d.program(v.items[0])
	}
	return f
}

// program judges the first word of a command.
func (d *decoder) program(v *value) {
	name := v.text
	switch {
	case filepath.IsAbs(name):
	case strings.ContainsAny(name, " \t\n"):
		d.bad(v, "write each argument as a string of its own, or use script for a shell", "%q is a command line, want the program alone", clip(name))
	case name == "":
		d.bad(v, "", "the program is empty")
	case strings.Contains(name, "/"), name == ".", name == "..":
		d.bad(v, "", "%q is neither an absolute path nor a bare name", clip(name))
	}
}

// schedules is one schedule or a list of them.
func schedules(at func(*Spec) *[]string) field[Spec] {
	return field[Spec]{
		schema: func() Schema {
			text := Schema{"type": "string"}
			return Schema{"anyOf": []Schema{text, {"type": "array", "minItems": 1, "items": text}}}
		},
		value: func(s *Spec) any { return slices.Clone(*at(s)) },
		decode: func(d *decoder, v *value, s *Spec) {
			items := []*value{v}
			if v.kind == unstable.Array {
				items = v.items
				if len(items) == 0 {
					d.bad(v, "leave the key out", "is empty")
				}
			}
			*at(s) = nil
			for _, item := range items {
				if !d.is(item, unstable.String, `a schedule such as "daily", "30 2 * * *" or "@every 15m"`) {
					continue
				}
				parsed, err := scheduler.Parse(item.text, time.UTC)
				if err != nil {
					d.bad(item, "", "%s", printable(strings.TrimPrefix(err.Error(), "schedule: ")))
					continue
				}
				*at(s) = append(*at(s), parsed.String())
			}
		},
	}
}

// timezone is the IANA name of a zone that the machine has.
func timezone(at func(*Spec) *string) field[Spec] {
	f := text(at, nil)
	f.decode = func(d *decoder, v *value, s *Spec) {
		if !d.is(v, unstable.String, "a string") || !d.printableText(v) {
			return
		}
		if len(v.text) > 64 {
			d.bad(v, "", "%q is no IANA time zone", clip(v.text))
			return
		}
		if _, err := d.zones.Load(v.text); err != nil {
			d.bad(v, d.nearZone(v.text), "%s", printable(err.Error()))
			return
		}
		*at(s) = v.text
	}
	return f
}

// nearZone suggests a zone's name for one that the machine does not have.
func (d *decoder) nearZone(name string) string {
	known := d.zones.Names()
	switch name {
	case "", "Local", "localtime":
		return "take the key out: without it the machine's own zone is meant"
	}
	if len(known) == 0 {
		return "install the package tzdata, then run: dispatchctl reload"
	}
	if strings.HasPrefix(name, "right/") || strings.HasPrefix(name, "posix/") {
		name = name[len("right/"):]
	}
	name = strings.ReplaceAll(name, " ", "_")
	for _, k := range known {
		_, city, _ := strings.Cut(k, "/")
		if strings.EqualFold(k, name) || strings.EqualFold(city, name) {
			return fmt.Sprintf("did you mean %s?", k)
		}
	}
	if near := suggest(name, known); near != "" {
		return near
	}
	return "a name is one of those below /usr/share/zoneinfo, such as Europe/Berlin; the package tzdata brings them (old names: tzdata-legacy)"
}

// openCache makes the dispatcher a cache, unless a layer before has.
func openCache(_ *decoder, _ *value, s *Spec) {
	if s.Cache == nil {
		s.Cache = defaultCache()
	}
}

// defaultCache is a [cache] without keys.
func defaultCache() *Cache {
	s := Spec{Cache: &Cache{}}
	cacheKeys().setDefaults(&s, "cache")
	return s.Cache
}

// umask is an octal string, or an integer written in octal.
func umask(at func(*Spec) *int) field[Spec] { return octal(at, "umask", "0022", "0777") }

// fileMode is the mode of a file that the daemon alone writes: octal, as umask.
func fileMode(at func(*Spec) *int) field[Spec] {
	f := octal(at, "mode", "0640", "0644")
	text, decode := f.value, f.decode
	f.value = func(s *Spec) any {
		if *at(s) == 0 {
			return ""
		}
		return text(s)
	}
	f.decode = func(d *decoder, v *value, s *Spec) {
		before := d.count
		decode(d, v, s)
		if mode := *at(s); d.count == before && (mode&^0o644 != 0 || mode&0o400 == 0) {
			d.bad(v, `write "0640", or "0644" for everybody`, "%04o is no mode of a cache: its owner reads it, nobody else writes it, and it is no program", mode)
		}
	}
	return f
}

// octal is an octal string, or an integer written in octal. 22 could mean 0o22 or
// 0o26, and a wrong guess opens files to others.
func octal(at func(*Spec) *int, what, example, most string) field[Spec] {
	highest, _ := strconv.ParseUint(most, 8, 16)
	return field[Spec]{
		schema: func() Schema { return either(whole(0, int64(highest)), "^0*[0-7]{1,3}$") },
		value:  func(s *Spec) any { return fmt.Sprintf("%04o", *at(s)) },
		decode: func(d *decoder, v *value, s *Spec) {
			digits := v.text
			switch v.kind {
			case unstable.String: // always octal, as for umask(1)
			case unstable.Integer:
				if octal, ok := strings.CutPrefix(digits, "0o"); ok {
					digits = octal
				} else if n, ok := v.integer(); ok && n != 0 {
					d.bad(v, fmt.Sprintf("write %q or 0o%s", example, example[1:]), "%s is not octal", clip(v.text))
					return
				}
			default:
				d.bad(v, "", "want an octal string such as %q, not %s", example, v.kindName())
				return
			}
			n, err := strconv.ParseUint(digits, 8, 16)
			if err != nil || n > highest {
				d.bad(v, "", "%q is no %s, want 0000 to %s in octal", clip(v.text), what, most)
				return
			}
			*at(s) = int(n)
		},
	}
}

// isVariable reports whether every shell takes name for the name of a variable.
func isVariable(name string) bool { return matches(name, "a_", "a0_", 256) }

// variables is a table of a job's variables. Layers are merged one by one.
func variables(at func(*Spec) *map[string]string) field[Spec] {
	return field[Spec]{
		schema: func() Schema { return Schema{"type": "object", "additionalProperties": Schema{"type": "string"}} },
		value:  func(s *Spec) any { return maps.Clone(*at(s)) },
		decode: func(d *decoder, v *value, s *Spec) {
			if !d.is(v, unstable.Table, "a table of strings") {
				return
			}
			for _, field := range v.fields {
				if !d.variable(field) {
					continue
				}
				if *at(s) == nil {
					*at(s) = map[string]string{}
				}
				(*at(s))[field.name] = field.text
			}
		},
	}
}

// variable judges one variable. A file must not forge the variables by which
// dispatchd tells the job its id and socket. A key with a number probably stands
// below the header of [environment] by mistake.
func (d *decoder) variable(v *value) bool {
	switch {
	case !isVariable(v.name):
		d.report(v, v.keyAt, "", "is no name of a variable")
	case strings.HasPrefix(v.name, "DISPATCHD_") || v.name == "NOTIFY_SOCKET":
		d.report(v, v.keyAt, "", "is set by dispatchd itself")
	case v.kind != unstable.String && slices.Contains(d.top, v.name):
		d.bad(v, misplaced(v.name), "want a string, not %s", v.kindName())
	default:
		return d.is(v, unstable.String, "a string") && d.printableText(v)
	}
	return false
}
