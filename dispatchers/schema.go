package dispatchers

// Schema is a JSON Schema (draft 2020-12), for editors. It follows from the rows
// that read the files. A good file always fits its schema. A file that fits may
// still be bad: a schema cannot say what keys mean together.
type Schema map[string]any

const (
	durationPattern = `^[-+]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`
	sizePattern     = `^[0-9]{1,15} ?(B|KiB|MiB|GiB)$`
)

// FileSchema is the schema of a dispatcher's file and its drop-ins.
func FileSchema() Schema {
	k, probe := fileKeys(), defaults("NAME")
	probe.Schedule = []string{"daily"} // the keys beside it have their defaults then
	probe.finish()
	probe.Cache = defaultCache()
	s := k.schema("", probe)
	s.head("A dispatcher's file", "One named long-running operation of dispatchd. Its name is the file's.")
	s["not"] = Schema{"anyOf": []Schema{
		{"required": []string{"command", "script"}}, {"required": []string{"command", "php_class"}}, {"required": []string{"script", "php_class"}},
	}}
	return s
}

// SettingsSchema is the schema of dispatchd.toml.
func SettingsSchema() Schema {
	settings := DefaultSettings()
	s := settingsKeys().schema("", &settings)
	s.head("dispatchd.toml", "The settings of the daemon.")
	return s
}

// schema describes a table, "" for the file itself. The defaults are those that
// are in force in probe.
func (k keys[S]) schema(table string, probe *S) Schema {
	properties := map[string]Schema{}
	for _, name := range k.inside(table) {
		row := k.find(join(table, name))
		if row.since != now {
			continue
		}
		var p Schema
		if k.isTable(row) {
			p = k.schema(row.name, probe)
		} else {
			p = row.schema()
			if v := row.value(probe); v != nil && row.deflt != "" {
				p["default"] = v
			}
		}
		p["description"] = row.doc
		properties[name] = p
	}
	return Schema{"type": "object", "additionalProperties": false, "properties": properties}
}

// whole is an integer within bounds.
func whole(lo, hi int64) Schema { return Schema{"type": "integer", "minimum": lo, "maximum": hi} }

// either is a number, or a text that says it with a unit.
func either(number Schema, pattern string) Schema {
	return Schema{"anyOf": []Schema{number, {"type": "string", "pattern": pattern}}}
}

// head gives a schema its dialect, title and description.
func (s Schema) head(title, description string) {
	s["$schema"], s["title"], s["description"] = "https://json-schema.org/draft/2020-12/schema", title, description
}
