package dispatchers

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// merged sets the keys of files over each other, as Load does with what it has
// read; nil where there are faults.
func merged(files ...string) (*Spec, []Fault) {
	b := &builder{decoder: newDecoder(), keys: fileKeys(), trust: trust{off: true}, spec: defaults("a")}
	for _, text := range files {
		b.layer(&source{path: "a.toml", data: []byte(text)})
	}
	faults := b.finish()
	if len(faults) > 0 {
		return nil, faults
	}
	return b.spec, nil
}

// addStories seeds with every file of the golden stories.
func addStories(f *testing.F) {
	golden, err := os.ReadFile("testdata/faults.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for part := range strings.SplitSeq(string(golden), "-- ") {
		if name, text, ok := strings.Cut(part, " --\n"); ok && !strings.HasPrefix(name, "want ") {
			f.Add(text)
		}
	}
}

// FuzzLoad: whatever a file holds, it gives a dispatcher, or faults with a place
// in the file that can be shown; never a panic, never neither. What go-toml does
// not take is never a dispatcher.
func FuzzLoad(f *testing.F) {
	addStories(f)
	f.Add("script = '''\ntrue\n'''\n[locks]\nshared = [\"a:{b}\"]")
	f.Fuzz(func(t *testing.T, text string) {
		s, faults := merged(text)
		for _, fault := range faults {
			if fault.Message == "" || fault.Row > strings.Count(text, "\n")+1 || fault.indent > window {
				t.Errorf("fault without a place: %+v", fault)
			}
			if strings.ContainsAny(strings.ReplaceAll(fault.Render(), "\n", ""), "\x00\x1b\r\u202e") {
				t.Errorf("fault would act upon a terminal: %q", fault.Render())
			}
		}
		if over, faults := merged(`command = ["true"]`, text); (over == nil) != (len(faults) > 0) {
			t.Errorf("as a drop-in: %v beside %v", over, faults)
		}
		if s == nil {
			return
		}
		var all map[string]any
		if err := toml.Unmarshal([]byte(text), &all); err != nil {
			t.Errorf("is no TOML: %v", err)
		}
		if s.Concurrency < 1 || s.QueueTimeout < 0 || s.DebounceMax < s.Debounce || operations(s) != 1 {
			t.Errorf("bad spec passed: %+v", s)
		}
		roundTrip(t, s)
	})
}

// operations counts what a spec would run.
func operations(s *Spec) int {
	n := 0
	for _, set := range []bool{len(s.Command) > 0, s.Script != "", s.PHPClass != ""} {
		if set {
			n++
		}
	}
	return n
}

// roundTrip writes what is in force as a file: it must mean the same.
func roundTrip(t *testing.T, s *Spec) {
	text, err := toml.Marshal(s.Definition())
	if err != nil {
		t.Fatal(err)
	}
	again, faults := merged(string(text))
	if len(faults) > 0 {
		t.Fatalf("the definition is refused: %v\n%s", faults, text)
	}
	if !reflect.DeepEqual(plainSpec(*s), plainSpec(*again)) {
		t.Errorf("the definition means something else:\n%+v\n%+v\n%s", s, again, text)
	}
}

// plainSpec makes lists and tables without anything in them equal to none.
func plainSpec(s Spec) Spec {
	v := reflect.ValueOf(&s).Elem()
	for _, f := range v.Fields() {
		if (f.Kind() == reflect.Slice || f.Kind() == reflect.Map) && f.Len() == 0 {
			f.SetZero()
		}
	}
	return s
}

// TestDefinitionRoundTrip has many keys at once; TestEachKey has each.
func TestDefinitionRoundTrip(t *testing.T) {
	full := `script = "a\nb"
coalesce = true
description = "x"
package_includes = ["/a"]
required_packages = ["p"]
timeout = "1h1ms"
queue_timeout = 0
max_queue = 0
concurrency = 3
coalesce_key = ["id"]
debounce = "1.5s"
debounce_max = 90
success_exit_codes = [0, 3]
kill_grace = "90m"
kill_mode = "process"
survive_restart = false
on_interrupt = "rerun"
leftovers = "leave"
user = "root"
group = "wheel"
umask = 0o077
working_directory = "/tmp"
max_output = "3 KiB"
durability = "relaxed"
schedule = ["daily", "30 2 * * 7", "@every 90m"]
timezone = "Europe/Berlin"
jitter = "5m"
catch_up = "all"
overlap = "skip"
run_on_start = true
[locks]
exclusive = ["a", "b:{c}"]
shared = ["d"]
[retry]
attempts = 3
backoff = "2m"
exit_codes = [1]
[environment]
A = "b\u0007"
`
	for _, text := range []string{full, `command = ["true", "a b", ""]`, "php_class = 'A\\B'\npackage_includes = ['/a']", "command = ['true']\n[cache]\nmax_age = '1h'\nstale_ok = false\nformat = 'text'\nmax_size = 5", "command = ['true']\nschedule = 'hourly'\n[cache]"} {
		s, faults := merged(text)
		if s == nil {
			t.Fatal(faults)
		}
		roundTrip(t, s)
	}
}
