package dispatchers

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"pgregory.net/rapid"
)

// plainValue gives a value of the tree as go-toml's decoder would. Numbers with
// a fraction, and dates, have no rows: they stay text.
func plainValue(v *value) any {
	switch v.kind {
	case unstable.Table, unstable.InlineTable:
		m := map[string]any{}
		for _, f := range v.fields {
			m[f.name] = plainValue(f)
		}
		return m
	case unstable.Array:
		list := []any{}
		for _, item := range v.items {
			list = append(list, plainValue(item))
		}
		return list
	case unstable.String:
		return v.text
	case unstable.Bool:
		return v.text == "true"
	case unstable.Integer:
		n, _ := v.integer()
		return n
	case unstable.Float:
		text := strings.ReplaceAll(v.text, "_", "")
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return "a number"
		}
		return f
	}
	return "a date"
}

// plainAny makes what go-toml's decoder gives comparable with plainValue.
func plainAny(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			v[name] = plainAny(member)
		}
		return v
	case []any:
		for i, item := range v {
			v[i] = plainAny(item)
		}
		return v
	case string, bool, int64:
		return v
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "a number"
		}
		return v
	case time.Time, toml.LocalDate, toml.LocalDateTime, toml.LocalTime:
		return "a date"
	}
	return v
}

// sameTree holds the tree against go-toml's own decoder.
func sameTree(t interface {
	Helper()
	Errorf(string, ...any)
}, text string,
) {
	t.Helper()
	doc := parseTOML(&source{path: "a.toml", data: []byte(text)})
	var want map[string]any
	err := toml.Unmarshal([]byte(text), &want)
	if (err != nil) != (len(doc.faults) > 0) {
		t.Errorf("go-toml: %v, ours: %v\n%s", err, doc.faults, text)
	}
	if err != nil || len(doc.faults) > 0 {
		return
	}
	if want == nil {
		want = map[string]any{}
	}
	if diff := cmp.Diff(plainAny(want), plainValue(doc.root)); diff != "" {
		t.Errorf("the tree has other values (-go-toml +ours):\n%s\n%s", diff, text)
	}
}

func TestTree(t *testing.T) {
	for _, text := range []string{
		"", "# a\n", "a = 1", "a = 0x_f", "a = 0xff\nb = 0o17\nc = 0b11\nd = 1_000\ne = -0", "a = 'b\\'\nc = \"\\u00e9\\t\"",
		"a.b.c = 1\na.b.d = 2\na.e = 3", "[a]\nb = 1\n[a.c]\nd = 2\n[e]", "[a.b]\nc = 1\n[a]\nd = 2", "[[a]]\nb = 1\n[[a]]\nb = 2\n[a.c]\nd = 3",
		"a = [1, [2, 'b'], {c = 3}]", "a = {b = {c = 1}, d.e = 2}", "\"a.b\" = 1\n'' = 2", "a = true\nb = 1979-05-27T07:32:00Z\nc = 1.5\nd = inf",
		"a = '''\nb\nc'''\nd = \"\"\"\\\n  e\"\"\"", "a = [\n1, # b\n2,\n]",
	} {
		sameTree(t, text)
	}
}

// tomlValue draws the text of a value.
func tomlValue(t *rapid.T, depth int) string {
	kinds := []string{"1", "-7", "0x1F", "true", "false", `"a b"`, "'c'", "\"\\u00e9\"", "[]", "{}", "1.5", "2026-01-02"}
	if depth == 0 {
		return rapid.SampledFrom(kinds).Draw(t, "value")
	}
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		var items []string
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			items = append(items, tomlValue(t, depth-1))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case 1:
		var fields []string
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c.d", "'e f'"}), 0, 3, rapid.ID[string]).Draw(t, "names") {
			fields = append(fields, name+" = "+tomlValue(t, depth-1))
		}
		return "{" + strings.Join(fields, ", ") + "}"
	}
	return rapid.SampledFrom(kinds).Draw(t, "value")
}

// Any file of keys and tables means to us what it means to go-toml, which also
// refuses what we refuse: keys set twice, tables opened twice.
func TestTreeOfAnyFile(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "a.b", "b.c", "a.b.c", `"a.b"`, "_0-"})
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		for range rapid.IntRange(0, 6).Draw(t, "lines") {
			switch rapid.IntRange(0, 5).Draw(t, "line") {
			case 0:
				b.WriteString("[" + names.Draw(t, "table") + "]\n")
			case 1:
				b.WriteString("[[" + names.Draw(t, "array") + "]]\n")
			default:
				b.WriteString(names.Draw(t, "key") + " = " + tomlValue(t, 2) + "\n")
			}
		}
		sameTree(t, b.String())
	})
}

// Each value knows its place: the text there begins as the value was written.
func TestPlaces(t *testing.T) {
	const text = `one = 1
  two   =   "zwei"
three.four = [ 5, "six", [7] ]
[seven]
eight = { nine = true }
[[ten]]
eleven = '''
twelve'''
`
	doc := parseTOML(&source{path: "a.toml", data: []byte(text)})
	want := map[string][2]string{ // path: at the key, at the value
		"one": {"one", "1"}, "two": {"two", `"zwei"`}, "three.four": {"four", "["}, "three.four[0]": {"5", "5"}, "three.four[1]": {`"six"`, `"six"`},
		"seven.eight": {"eight", "{"}, "seven.eight.nine": {"nine", "true"}, "ten.eleven": {"eleven", "'''"},
	}
	var walk func(v *value)
	walk = func(v *value) {
		if w, ok := want[v.path]; ok {
			if at := text[v.at:]; !strings.HasPrefix(at, w[1]) {
				t.Errorf("%s: its value is placed at %.10q", v.path, at)
			}
			if at := text[v.keyAt:]; !strings.HasPrefix(at, w[0]) && !strings.Contains(v.path, "[") {
				t.Errorf("%s: its key is placed at %.10q", v.path, at)
			}
			delete(want, v.path)
		}
		for _, below := range append(append([]*value{}, v.fields...), v.items...) {
			walk(below)
		}
	}
	walk(doc.root)
	if len(want) > 0 || len(doc.faults) > 0 {
		t.Errorf("not found: %v, %v", reflect.ValueOf(want).MapKeys(), doc.faults)
	}
}

// A file with more keys than any definition has is not read to its end: the
// library compares each key with all before it.
func TestTooManyKeys(t *testing.T) {
	var b strings.Builder
	for i := range maxKeys + 2 {
		b.WriteString("k" + strconv.Itoa(i) + " = 1\n")
	}
	doc := parseTOML(&source{path: "a.toml", data: []byte(b.String())})
	if !doc.broken || len(doc.faults) != 1 || !strings.Contains(doc.faults[0].Message, "more than 4000 keys") {
		t.Errorf("%v", doc.faults)
	}
}

// A file's own names must not make paths, and so faults, as long as the file.
func TestPathsAreBounded(t *testing.T) {
	path := ""
	for range 1000 {
		path = element(join(path, strings.Repeat("a", 100)), 0)
	}
	if len(path) > maxPath+100 {
		t.Errorf("a path of %d bytes", len(path))
	}
	for name, want := range map[string]string{"a": "p.a", "": `p.""`, "a b": `p."a b"`, "é": `p."é"`, "a\n": `p."a\n"`} {
		if got := join("p", name); got != want {
			t.Errorf("join(p, %q) = %s, want %s", name, got, want)
		}
	}
}
