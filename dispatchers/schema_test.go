package dispatchers

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compiled is a schema as a validator of the draft reads it.
func compiled(t testing.TB, s Schema) *jsonschema.Schema {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("s.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("s.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// fits holds a file against a schema.
func fits(s *jsonschema.Schema, text string) error {
	var file map[string]any
	if err := toml.Unmarshal([]byte(text), &file); err != nil {
		return err
	}
	data, err := json.Marshal(file)
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

// Defaults are what a file without keys means.
func TestSchemaDefaults(t *testing.T) {
	p := FileSchema()["properties"].(map[string]Schema)
	for key, want := range map[string]any{"timeout": "5m", "max_queue": 10, "overlap": "queue", "kill_mode": "group", "umask": "0022", "queue_timeout": nil} {
		if diff := cmp.Diff(want, p[key]["default"]); diff != "" {
			t.Errorf("default of %s: %s", key, diff)
		}
	}
	if got := p["cache"]["properties"].(map[string]Schema)["max_size"]["default"]; got != int64(16<<20) {
		t.Errorf("default of cache.max_size: %v", got)
	}
}

// What is wrong in an editor's eyes: a sample of each way.
func TestSchemaRefuses(t *testing.T) {
	s := compiled(t, FileSchema())
	for _, text := range []string{
		"scrpt = 'x'", "script = 1", "timeout = '5 minutes'", "timeout = -1", "command = 'x'", "command = []", "kill_mode = 'all'",
		"max_queue = -1", "concurrency = 0", "umask = '9'", "max_output = '3 kB'", "success_exit_codes = [256]", "success_exit_codes = []",
		"schedule = []", "coalesce = 'yes'", "coalesce_key = ['a', 'a']", "locks.exclsive = ['a']", "environment = { A = 1 }",
		"retry = 3", "cache.format = 'xml'", "script = 'x'\ncommand = ['x']", "script = 'x'\nphp_class = 'A'", "php_class = 'A'\ncommand = ['x']", "php_class = 1", "limits.memory = 5",
	} {
		if err := fits(s, text); err == nil {
			t.Errorf("taken: %s", text)
		}
	}
	s = compiled(t, SettingsSchema())
	for _, text := range []string{"max_runing = 1", "durability = 'most'", "history_age = 1", "log_format = 'xml'"} {
		if err := fits(s, text); err == nil {
			t.Errorf("taken: %s", text)
		}
	}
}

// Every default fits, and the examples that are shipped do.
func TestSchemaTakes(t *testing.T) {
	s := compiled(t, FileSchema())
	files, err := filepath.Glob("../packaging/examples/dispatchers.d/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := fits(s, string(text)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if !strings.HasPrefix(string(text), "#:schema file:///usr/share/dispatchd/dispatcher.schema.json\n") {
			t.Errorf("%s: no #:schema line", path)
		}
	}
	settings := DefaultSettings()
	text, err := toml.Marshal(settingsKeys().values(&settings))
	if err != nil {
		t.Fatal(err)
	}
	if err := fits(compiled(t, SettingsSchema()), string(text)); err != nil {
		t.Errorf("the defaults: %v\n%s", err, text)
	}
}

// FuzzSchema: a file that gives a dispatcher fits the schema.
func FuzzSchema(f *testing.F) {
	addStories(f)
	f.Add("script = 'x'\numask = 0o022\ntimeout = '-0s'\n[retry]\nexit_codes = [1]\n[cache]\nmax_size = '1 KiB'")
	s := compiled(f, FileSchema())
	f.Fuzz(func(t *testing.T, text string) {
		if spec, _ := merged(text); spec == nil {
			return
		}
		if err := fits(s, text); err != nil {
			t.Errorf("a good file does not fit: %v\n%s", err, text)
		}
	})
}
