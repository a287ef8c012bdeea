package dispatchers

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dispatchd/dispatchers/mode"
	"dispatchd/scheduler"
)

// checkRows wants each row to say all that is derived from it.
func checkRows[S any](t *testing.T, k keys[S]) {
	t.Helper()
	seen := map[string]bool{}
	for i := range k {
		row := &k[i]
		table, last := tableOf(row.name)
		switch {
		case seen[row.name]:
			t.Errorf("%s has two rows", row.name)
		case !isBare(last) || strings.ToLower(last) != last:
			t.Errorf("%s is no key", row.name)
		case table != "" && !seen[table]:
			t.Errorf("%s stands before the row of its table", row.name)
		case k.isTable(row):
			if row.value != nil || row.schema != nil || row.deflt != "" {
				t.Errorf("%s is a table, which follows from the rows inside", row.name)
			}
		case row.decode == nil:
			t.Errorf("%s: nothing takes its value", row.name)
		case k.supported(row) && (row.value == nil || row.schema == nil):
			t.Errorf("%s has no value, or no schema", row.name)
		}
		if k.supported(row) && (!strings.HasSuffix(row.doc, ".") || len(row.doc) > 160) {
			t.Errorf("%s: its doc is not one sentence: %q", row.name, row.doc)
		}
		seen[row.name] = true
	}
}

func TestRows(t *testing.T) {
	checkRows(t, fileKeys())
	checkRows(t, settingsKeys())
}

// leaves lists the supported keys that are no tables, sorted.
func leaves[S any](k keys[S]) []string {
	var names []string
	for i := range k {
		if k.supported(&k[i]) && !k.isTable(&k[i]) {
			names = append(names, k[i].name)
		}
	}
	slices.Sort(names)
	return names
}

// Nobody looks at the faults of defaults where they are decoded.
func TestDefaultsAreGood(t *testing.T) {
	file, settings := Spec{Cache: &Cache{}}, Settings{}
	for _, text := range []string{defaultsText(t, fileKeys()), defaultsText(t, settingsKeys())} {
		d, doc := newDecoder(), parseTOML(&source{path: "defaults", data: []byte(text)})
		if strings.Contains(text, "socket_group") {
			settingsKeys().decode(d, doc.root, &settings)
		} else {
			fileKeys().decode(d, doc.root, &file)
		}
		if d.addSyntaxFaults(doc); len(d.faults) > 0 {
			t.Errorf("%v\n%s", d.faults, text)
		}
	}
	for name, same := range map[string]bool{
		"timeout":    file.Timeout == DefaultTimeout,
		"max_queue":  file.MaxQueue == DefaultMaxQueue,
		"max_output": file.MaxOutput == DefaultMaxOutput,
		"kill_grace": file.KillGrace == DefaultKillGrace,
		"umask":      file.Umask == DefaultUmask,
		"max_size":   file.Cache.MaxSize == DefaultCacheSize && defaultCache().MaxSize == DefaultCacheSize,
	} {
		if !same {
			t.Errorf("the default of %s is not the constant that other packages use", name)
		}
	}
}

// defaultsText is a file with all defaults.
func defaultsText[S any](t *testing.T, k keys[S]) string {
	t.Helper()
	var lines []string
	for _, row := range k {
		if row.deflt != "" {
			lines = append(lines, row.name+" = "+row.deflt)
		}
	}
	if len(lines) < 10 {
		t.Fatalf("only %d defaults", len(lines))
	}
	return strings.Join(lines, "\n") + "\n"
}

// A file that sets each key to its default means the same as one that sets none,
// but for what a key says by being there.
func TestDefaultsChangeNothing(t *testing.T) {
	text := defaultsText(t, fileKeys())
	for _, c := range []struct{ bare, full string }{
		{"command = ['true']\n", regexp.MustCompile(`(?m)^(cache\..*|jitter.*|catch_up.*|overlap.*)\n`).ReplaceAllString(text, "")},
		{"command = ['true']\nschedule = 'daily'\n", regexp.MustCompile(`(?m)^cache\..*\n`).ReplaceAllString(text, "")},
		{"command = ['true']\ncache = {}\n", regexp.MustCompile(`(?m)^(coalesce|jitter.*|catch_up.*|overlap.*)( .*)?\n`).ReplaceAllString(text, "")},
	} {
		full := c.bare + c.full
		if strings.Contains(c.bare, "cache") {
			full = strings.Replace(full, "cache = {}\n", "", 1)
		}
		want, faults := merged(c.bare)
		if want == nil {
			t.Fatal(faults)
		}
		got, faults := merged(full)
		if got == nil {
			t.Errorf("%v\n%s", faults, full)
		} else if diff := cmp.Diff(want.Definition(), got.Definition()); diff != "" {
			t.Errorf("%q (-without +with):\n%s", c.bare, diff)
		}
	}
}

// samples are values, of which each key takes at least one.
func samples() []string {
	return []string{
		"true", "false", "7", "0o27", "0o640", "[7]", `"7s"`, `"7 KiB"`, `"a"`, `"/a"`, `"UTC"`, `"daily"`, `["a"]`, `["/a"]`, `{ A = "1" }`,
	}
}

// besides are files that each key can stand in: most keys need another one, or
// mean nothing beside one.
func besides() []string {
	return []string{"script = 'x'\n", "", "script = 'x'\nschedule = 'hourly'\n", "script = 'x'\ndebounce = 5\n", "script = 'x'\ncoalesce = true\n"}
}

// TestEachKey sets each key, whatever row it has, to some value but its default:
// the definition says so, and what it says means the same again.
func TestEachKey(t *testing.T) {
	k := fileKeys()
	for _, name := range leaves(k) {
		values := samples()
		if enum, ok := k.find(name).schema()["enum"].([]string); ok {
			for _, word := range enum {
				values = append(values, "'"+word+"'")
			}
		}
		set := 0
		for _, beside := range besides() {
			bare, _ := merged(beside)
			for _, value := range values {
				s, _ := merged(beside + name + " = " + value)
				if s == nil || bare != nil && cmp.Equal(bare.Definition(), s.Definition()) {
					continue
				}
				set++
				roundTrip(t, s)
			}
		}
		if set == 0 {
			t.Errorf("no sample sets %s: give samples() one", name)
		}
	}
}

// Layers are merged key by key, also inside tables; a list is replaced.
func TestMergeByKey(t *testing.T) {
	s, faults := merged(
		"command = ['true']\ntimeout = 1\nlocks.exclusive = ['a', 'b']\nretry.attempts = 3\nenvironment.A = '1'\n[cache]\nmax_age = 5",
		"timeout = 2\n[locks]\nexclusive = ['c']\nshared = ['d']\n[retry]\nbackoff = 7\n[environment]\nB = '2'\n[cache]\nformat = 'text'",
		"[cache]",
	)
	if s == nil {
		t.Fatal(faults)
	}
	def := s.Definition()
	want := map[string]any{
		"timeout": "2s", "locks": map[string]any{"exclusive": []string{"c"}, "shared": []string{"d"}},
		"retry":       map[string]any{"attempts": 3, "backoff": "7s", "max_backoff": "1m"},
		"environment": map[string]string{"A": "1", "B": "2"},
		"cache":       map[string]any{"max_age": "5s", "max_stale": "0s", "stale_ok": true, "format": "text", "max_size": int64(16 << 20)},
	}
	for key, value := range want {
		if diff := cmp.Diff(value, def[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
}

// A definition is its caller's own: the daemon gives it away.
func TestDefinitionIsACopy(t *testing.T) {
	s, _ := merged("command = ['true', 'a']\nlocks.shared = ['a']\nschedule = 'daily'\nenvironment.A = '1'\n")
	def := s.Definition()
	def["command"].([]string)[0] = "x"
	def["schedule"].([]string)[0] = "x"
	def["success_exit_codes"].([]int)[0] = 7
	def["environment"].(map[string]string)["A"] = "x"
	def["locks"].(map[string]any)["shared"].([]string)[0] = "x"
	if s.Command[0] != "true" || s.Schedule[0] == "x" || s.SuccessExitCodes[0] != 0 || s.Environment["A"] != "1" || s.Shared[0] != "a" {
		t.Errorf("a change of the definition changed the dispatcher: %+v", s)
	}
}

// What one dispatcher's file, or a program's option, sets is no other's.
func TestDefaultsAreOwn(t *testing.T) {
	set := NewSet()
	fn := func(context.Context, struct{}) (int, error) { return 0, nil }
	Register(set, "a", fn, func(s *Spec) { s.SuccessExitCodes[0] = 9; s.Environment = map[string]string{"A": "1"} })
	Register(set, "b", fn)
	if b := set.Spec("b"); b.SuccessExitCodes[0] != 0 || b.Environment != nil {
		t.Errorf("b has what a set: %+v", b)
	}
	c, _ := load(t, map[string]string{"etc/a.toml": "environment.B = '2'\n[cache]\nmax_age = 5", "etc/c.toml": "script = 'x'\n[cache]"}, set)
	if a := c.Specs["a"]; a == nil || a.Environment["A"] != "1" || a.Environment["B"] != "2" || set.Spec("a").Environment["B"] != "" {
		t.Errorf("a: %+v beside %+v, %v", c.Specs["a"], set.Spec("a"), c.Faults)
	}
	if c := c.Specs["c"]; c.Cache.MaxAge != 0 {
		t.Errorf("c has the cache of a: %+v", c.Cache)
	}
}

// An unknown key names the one that was meant: the nearest in its table, or the
// same word in another place.
func TestSuggestions(t *testing.T) {
	k := fileKeys()
	for _, c := range []struct{ table, name, want string }{
		{"", "timeuot", "did you mean timeout?"},
		{"", "attempts", "did you mean retry.attempts?"},
		{"", "max_age", "did you mean cache.max_age?"},
		{"", "memory", "did you mean "}, // limits.memory is for later: not that
		{"", "xyzzy", ""},
		{"retry", "atempts", "did you mean attempts?"},
		{"retry", "timeout", "did you mean the top-level key timeout? It stands above the first [table]"},
		{"limits", "memroy", "did you mean memory?"},
		{"", "limts", "did you mean limits?"},
	} {
		got := k.suggest(c.table, c.name)
		if c.name == "memory" {
			if strings.Contains(got, "limits") {
				t.Errorf("a key that is refused is suggested: %s", got)
			}
		} else if got != c.want {
			t.Errorf("%s in [%s]: %q, want %q", c.name, c.table, got, c.want)
		}
	}
	if got := settingsKeys().suggest("", "max_conections"); got != "did you mean max_connections?" {
		t.Errorf("a setting: %q", got)
	}
}

// A quoted key with a dot is no key of a table.
func TestQuotedKeys(t *testing.T) {
	for _, text := range []string{`"retry.attempts" = 1`, `"cache" = 1`, `"locks"."exclusive" = ["a"]`} {
		s, faults := merged("command = ['true']\n" + text)
		if good := strings.HasPrefix(text, `"locks"`); (s != nil) != good {
			t.Errorf("%s: %v", text, faults)
		}
	}
}

// Each key for later is refused, after its value is found good, and is in
// neither the schema nor the definition.
func TestLaterKeys(t *testing.T) {
	for key, values := range map[string][2]string{ // good, bad
		"on_success":         {`["a"]`, `["-"]`},
		"on_failure":         {`["a"]`, `["a", "a"]`},
		"arguments":          {`{ a = "string", b = { type = "number", min = 1, enum = [1] } }`, `{ a = { required = true } }`},
		"limits.memory":      {`"1 MiB"`, `-1`},
		"limits.file_size":   {`0`, `"x"`},
		"limits.core":        {`0`, `true`},
		"limits.processes":   {`1`, `0`},
		"limits.open_files":  {`4`, `3`},
		"limits.cpu_seconds": {`1`, `"1s"`},
		"limits.nice":        {`19`, `20`},
		"access.notify":      {`["root", "@wheel"]`, `["@"]`},
		"access.read":        {`[]`, `"root"`},
		"access.cancel":      {`["1"]`, `["a", "a"]`},
		"confirm.within":     {`"1s"`, `0`},
		"confirm.rollback":   {`["true"]`, `["./x"]`},
	} {
		for i, value := range values {
			_, faults := merged("command = ['true']\n" + key + " = " + value)
			refused := len(faults) == 1 && faults[0].Message == "is not supported yet"
			if len(faults) == 0 || refused != (i == 0) {
				t.Errorf("%s = %s: %v", key, value, faults)
			}
		}
	}
	k, properties := fileKeys(), FileSchema()["properties"].(map[string]Schema)
	for i := range k {
		if table, _ := tableOf(k[i].name); !k.supported(&k[i]) && table == "" && properties[k[i].name] != nil {
			t.Errorf("%s is in the schema", k[i].name)
		}
	}
	if leaf := leaves(k); slices.Contains(leaf, "limits.nice") || !slices.Contains(leaf, "retry.backoff") {
		t.Errorf("supported: %v", leaf)
	}
}

// manKey finds the keys at the head of an item of a manual page.
var manKey = regexp.MustCompile(`(?m)^\.It Ic ([a-z_., ]+)$`)

// documented lists the keys that a manual page has an item for, sorted.
func documented(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile("../packaging/man/" + page)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range manKey.FindAllStringSubmatch(string(text), -1) {
		names = append(names, strings.Split(m[1], " , ")...)
	}
	slices.Sort(names)
	return names
}

// completed lists the keys that an editor completes, sorted: those of a schema.
func completed(s Schema, table string) []string {
	var names []string
	properties, _ := s["properties"].(map[string]Schema)
	for name, p := range properties {
		if _, isTable := p["properties"]; isTable {
			names = append(names, completed(p, table+name+".")...)
		} else {
			names = append(names, table+name)
		}
	}
	slices.Sort(names)
	return names
}

// A key is in the manual page and is completed, and what is there is a key.
func TestKeysAreDocumented(t *testing.T) {
	for _, c := range []struct {
		page   string
		keys   []string
		schema Schema
	}{
		{"dispatcher.toml.5", leaves(fileKeys()), FileSchema()},
		{"dispatchd.toml.5", leaves(settingsKeys()), SettingsSchema()},
	} {
		if diff := cmp.Diff(c.keys, documented(t, c.page)); diff != "" {
			t.Errorf("%s (-keys +page):\n%s", c.page, diff)
		}
		if diff := cmp.Diff(c.keys, completed(c.schema, "")); diff != "" {
			t.Errorf("the schema of %s (-keys +schema):\n%s", c.page, diff)
		}
	}
}

// The dispatchd.toml that packages install names every setting.
func TestSettingsFileNamesAll(t *testing.T) {
	text, err := os.ReadFile("../packaging/config/dispatchd.toml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^#?([a-z_]+) = `).FindAllStringSubmatch(string(text), -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	if diff := cmp.Diff(leaves(settingsKeys()), names); diff != "" {
		t.Errorf("(-keys +file):\n%s", diff)
	}
}

// The words of a mode are those of its type, in a file and in the schema.
func TestWordsOfModes(t *testing.T) {
	properties := FileSchema()["properties"].(map[string]Schema)
	checkWords[mode.KillMode](t, properties, "kill_mode")
	checkWords[mode.Leftovers](t, properties, "leftovers")
	checkWords[mode.OnInterrupt](t, properties, "on_interrupt")
	checkWords[mode.Overlap](t, properties, "overlap")
	checkWords[scheduler.CatchUp](t, properties, "catch_up")
	checkWords[mode.Durability](t, properties, "durability")
}

func checkWords[T mode.Word[T]](t *testing.T, properties map[string]Schema, name string) {
	t.Helper()
	var zero T
	enum, _ := properties[name]["enum"].([]string)
	if len(enum) != len(zero.Values()) {
		t.Errorf("%s: the schema has %q", name, enum)
	}
	for _, v := range zero.Values() {
		s, faults := merged("command = ['true']\nschedule = 'daily'\n" + name + " = '" + string(v) + "'")
		if s == nil || s.Definition()[name] != string(v) {
			t.Errorf("%s = %q: %v", name, v, faults)
		}
	}
}
