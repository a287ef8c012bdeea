package dispatchers

import (
	"maps"
	"slices"
)

// Schema is a JSON Schema (draft 2020-12), for editors. It is made of the
// setters that read the files: each is asked what it takes. What a schema cannot
// say, such as what keys mean together, only reading a file tells, so a file
// that is good always fits its schema, and not the other way round.
type Schema map[string]any

const (
	durationPattern = `^[-+]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`
	sizePattern     = `^[0-9]{1,15} ?(B|KiB|MiB|GiB)$`
)

// FileSchema is the schema of a dispatcher's file and its drop-ins.
func FileSchema() Schema {
	d := newDecoder()
	keys := d.keys(defaults("NAME"))
	for later := range d.laterKeys() {
		delete(keys, later)
	}
	s := schemaOf(keys)
	s.head("A dispatcher's file", "One named long-running operation of dispatchd. Its name is the file's.")
	s["not"] = Schema{"anyOf": []Schema{
		{"required": []string{"command", "script"}}, {"required": []string{"command", "php_class"}}, {"required": []string{"script", "php_class"}},
	}}
	spec := defaults("NAME")
	spec.Schedule = []string{"daily"} // the keys beside it have their defaults then
	spec.finish()
	standard := spec.Definition()
	standard["cache"] = defaultCache().definition()
	for _, depends := range []string{"schedule", "queue_timeout"} {
		delete(standard, depends)
	}
	s.explain(fileWords(), standard, "")
	return s
}

// SettingsSchema is the schema of dispatchd.toml.
func SettingsSchema() Schema {
	settings := DefaultSettings()
	s := schemaOf(newDecoder().settings(&settings))
	s.head("dispatchd.toml", "The settings of the daemon.")
	s.explain(settingsWords(), settings.definition(), "")
	return s
}

// schemaOf is the schema of a table with these keys.
func schemaOf(keys map[string]setter) Schema {
	v := &value{asked: Schema{}}
	answerTable(v, keys)
	return v.asked
}

// answerTable asks the setter of each key.
func answerTable(v *value, keys map[string]setter) {
	properties := map[string]Schema{}
	for name, set := range keys {
		field := &value{asked: Schema{}}
		set(field)
		properties[name] = field.asked
	}
	v.answer(Schema{"type": "object", "additionalProperties": false, "properties": properties})
}

// answer says what a setter takes, if that is what it was asked.
func (v *value) answer(s Schema) bool {
	if v.asked == nil {
		return false
	}
	maps.Copy(v.asked, s)
	return true
}

// whole is an integer within bounds.
func whole(lo, hi int64) Schema { return Schema{"type": "integer", "minimum": lo, "maximum": hi} }

// either is a number, or a text that says it with a unit.
func either(number Schema, pattern string) Schema {
	return Schema{"anyOf": []Schema{number, {"type": "string", "pattern": pattern}}}
}

// head says what a schema is.
func (s Schema) head(title, description string) {
	s["$schema"], s["title"], s["description"] = "https://json-schema.org/draft/2020-12/schema", title, description
}

// explain adds to each key what it means, and its default.
func (s Schema) explain(words map[string]string, standard map[string]any, path string) {
	properties, _ := s["properties"].(map[string]Schema)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		p, at := properties[name], path+name
		p["description"] = words[at]
		in := standard[name]
		if table, ok := in.(map[string]any); ok {
			p.explain(words, table, at+".")
		} else if in != nil {
			p["default"] = in
		}
		if _, ok := p["properties"]; ok && in == nil {
			p.explain(words, nil, at+".")
		}
	}
}

// definition is every setting with its value, by key.
func (s Settings) definition() map[string]any {
	return map[string]any{
		"socket_group": s.SocketGroup, "durability": string(s.Durability), "max_running": s.MaxRunning, "max_outstanding": s.MaxOutstanding,
		"history_count": s.HistoryCount, "history_age": durationText(s.HistoryAge), "history_bytes": s.HistoryBytes, "log_bytes": s.LogBytes,
		"log_level": s.LogLevel, "log_format": s.LogFormat, "path": s.Path, "package_manager": s.PackageManager, "max_connections": s.MaxConnections,
		"php": s.PHP, "php_loader": s.PHPLoader, // the bridge is elsewhere on each platform
	}
}
