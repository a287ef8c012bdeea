package dispatchers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Each kind of value at its bounds: what is taken, and what the fault says. The
// key is set once more before, so that a bad value is seen to change nothing.
func TestFields(t *testing.T) {
	for _, tc := range []struct {
		key, value string
		want       any    // in the definition
		fault      string // part of it
	}{
		// Durations.
		{"timeout", `0`, "0s", ""},
		{"timeout", `90`, "1m30s", ""},
		{"timeout", `"90s"`, "1m30s", ""},
		{"timeout", `"1h"`, "1h", ""},
		{"timeout", `"1h30m"`, "1h30m", ""},
		{"timeout", `"1h0m1s"`, "1h0m1s", ""},
		{"timeout", `"1.5h"`, "1h30m", ""},
		{"timeout", `"876000h"`, "876000h", ""},
		{"timeout", `"876000h1ns"`, nil, "longer than 100 years"},
		{"timeout", `3153600000`, "876000h", ""},
		{"timeout", `3153600001`, nil, "too large, want at most 3153600000"},
		{"timeout", `"-1ns"`, nil, "-1ns is too short, want at least 0s"},
		{"timeout", `-2147483648`, nil, "is too short"},
		{"timeout", `"5"`, nil, `write 5 or "5s"`},
		{"timeout", `"2d"`, nil, `days have no unit, write "48h"`},
		{"timeout", `"xd"`, nil, `"xd" is not a duration`},
		{"timeout", `"9999999999d"`, nil, "is not a duration"},
		{"timeout", `""`, nil, `"" is not a duration`},

		// Whole numbers.
		{"max_queue", `0`, 0, ""},
		{"max_queue", `2147483647`, 2147483647, ""},
		{"max_queue", `2147483648`, nil, "too large, want at most 2147483647"},
		{"max_queue", `-1`, nil, "too small, want at least 0"},
		{"max_queue", `0b11`, 3, ""},
		{"max_queue", `1.0`, nil, "want an integer, not a number with a fraction"},
		{"concurrency", `1`, 1, ""},
		{"concurrency", `10000`, 10000, ""},
		{"concurrency", `10001`, nil, "too large"},

		// Sizes.
		{"max_output", `1`, int64(1), ""},
		{"max_output", `0`, nil, "too small, want at least 1"},
		{"max_output", `"1 B"`, int64(1), ""},
		{"max_output", `"0 KiB"`, nil, "out of range, want 1 to 1125899906842624 bytes"},
		{"max_output", `"2KiB"`, int64(2 << 10), ""},
		{"max_output", `"3 MiB"`, int64(3 << 20), ""},
		{"max_output", `"1048576 GiB"`, int64(1 << 50), ""},
		{"max_output", `"1048577 GiB"`, nil, "out of range"},
		{"max_output", `1125899906842625`, nil, "too large"},
		{"max_output", `"1 kB"`, nil, "the units are B, KiB, MiB and GiB"},
		{"max_output", `"1"`, nil, `"1" is no size`},
		{"max_output", `true`, nil, "want bytes as an integer or a size"},

		// Words and truth.
		{"kill_mode", `"tree"`, "tree", ""},
		{"kill_mode", `"Tree"`, nil, "is not one of group, tree, process, none"},
		{"kill_mode", `""`, nil, `"" is not one of`},
		{"kill_mode", `1`, nil, "want one of group, tree, process, none, not an integer"},
		{"survive_restart", `false`, false, ""},
		{"survive_restart", `0`, nil, "want true or false, not an integer"},

		// Texts.
		{"description", `"a \u00e9 \u2026"`, "a é …", ""},
		{"description", `"a\tb"`, nil, "control characters"},
		{"description", `"a\u2028b"`, nil, "control characters"},
		{"working_directory", `"/a b"`, "/a b", ""},
		{"working_directory", `""`, nil, "want an absolute path"},
		{"user", `"1000"`, "1000", ""},
		{"user", `"machine$"`, "machine$", ""},
		{"user", `"-u"`, nil, "is no name of a user or group"},
		{"timezone", `"UTC"`, "UTC", ""},
		{"timezone", `""`, nil, "want an IANA name"},
		{"timezone", `"Local"`, nil, "want an IANA name"},
		{"timezone", `"../../etc/passwd"`, nil, "is no IANA time zone"},

		// Lists.
		{"required_packages", `["a", "b"]`, []string{"a", "b"}, ""},
		{"required_packages", `["b", "b"]`, nil, `"b" is in the list twice`},
		{"required_packages", `["*"]`, nil, "is no name of a package"},
		{"success_exit_codes", `[255, 0]`, []int{255, 0}, ""},
		{"success_exit_codes", `[]`, nil, "is empty, want at least one exit code"},
		{"success_exit_codes", `[-1]`, nil, "too small"},
		{"success_exit_codes", `0`, nil, "want a list of exit codes, not an integer"},
		{"schedule", `"daily"`, []string{"daily"}, ""},
		{"schedule", `[]`, nil, "is empty"},
		{"schedule", `[1]`, nil, "want a schedule such as"},

		// Octal.
		{"umask", `"0"`, "0000", ""},
		{"umask", `"0777"`, "0777", ""},
		{"umask", `"0000022"`, "0022", ""},
		{"umask", `0`, "0000", ""},
		{"umask", `0o27`, "0027", ""},
		{"umask", `"1000"`, nil, "want 0000 to 0777 in octal"},
		{"umask", `"08"`, nil, "is no umask"},
		{"umask", `"-1"`, nil, "is no umask"},
		{"umask", `18`, nil, "18 is not octal"},
		{"cache.mode", `"0640"`, "0640", ""},
		{"cache.mode", `0o600`, "0600", ""},
		{"cache.mode", `"0444"`, "0444", ""},
		{"cache.mode", `"0666"`, nil, "want 0000 to 0644 in octal"},
		{"cache.mode", `"0620"`, nil, "nobody else writes it"},
		{"cache.mode", `"0200"`, nil, "its owner reads it"},
		{"cache.mode", `"0550"`, nil, "it is no program"},
		{"cache.mode", `"0"`, nil, "its owner reads it"},
		{"cache.mode", `640`, nil, "640 is not octal"},
		{"cache.group", `"www-data"`, "www-data", ""},
		{"cache.group", `""`, nil, "no name of a user or group"},
	} {
		base := "script = 'x'\n"
		if tc.key == "timezone" {
			base += "schedule = 'daily'\n"
		}
		s, faults := merged(base, tc.key+" = "+tc.value)
		if tc.fault == "" {
			if s == nil {
				t.Errorf("%s = %s: %v", tc.key, tc.value, faults)
			} else if diff := cmp.Diff(tc.want, said(s, tc.key)); diff != "" {
				t.Errorf("%s = %s (-want +got):\n%s", tc.key, tc.value, diff)
			}
			continue
		}
		if len(faults) != 1 || !strings.Contains(faults[0].Error(), tc.fault) || faults[0].Row != 1 {
			t.Errorf("%s = %s: %v, want one with %q", tc.key, tc.value, faults, tc.fault)
		}
	}
}

// said is what a definition says of a dotted key.
func said(s *Spec, key string) any {
	table, name := tableOf(key)
	all := s.Definition()
	if table != "" {
		all, _ = all[table].(map[string]any)
	}
	return all[name]
}

// A bad value of a later layer leaves that of the layer before.
func TestBadValueSetsNothing(t *testing.T) {
	for key, values := range map[string][2]string{
		"timeout": {`7`, `"x"`}, "max_queue": {`7`, `-1`}, "max_output": {`7`, `"7"`}, "kill_mode": {`"tree"`, `"t"`},
		"coalesce": {`true`, `1`}, "description": {`"good"`, `"\t"`}, "umask": {`"0077"`, `77`}, "success_exit_codes": {`[7]`, `[7, 256]`},
		"required_packages": {`["a"]`, `["b", "*"]`}, "command": {`["a"]`, `["b c"]`},
	} {
		b := &builder{decoder: newDecoder(), keys: fileKeys(), spec: defaults("a")}
		b.layer(&source{path: "1", data: []byte(key + " = " + values[0])})
		want := b.spec.Definition()[key]
		b.layer(&source{path: "2", data: []byte(key + " = " + values[1])})
		if len(b.faults) != 1 {
			t.Fatalf("%s: %v", key, b.faults)
		}
		// The command's program is judged after its list is taken.
		if diff := cmp.Diff(want, b.spec.Definition()[key]); diff != "" && key != "command" {
			t.Errorf("%s changed (-want +got):\n%s", key, diff)
		}
	}
}

// given and when decide what a definition has; what they wrap is as before.
func TestLeftOut(t *testing.T) {
	type thing struct {
		text  string
		flag  bool
		list  []string
		codes []int
		span  time.Duration
	}
	textAt := func(s *thing) *string { return &s.text }
	for i, tc := range []struct {
		f    field[thing]
		s    thing
		want any
	}{
		{text(textAt, nil), thing{}, ""},
		{given(text(textAt, nil)), thing{}, nil},
		{given(text(textAt, nil)), thing{text: "a"}, "a"},
		{given(boolean(func(s *thing) *bool { return &s.flag })), thing{}, nil},
		{given(boolean(func(s *thing) *bool { return &s.flag })), thing{flag: true}, true},
		{given(list(func(s *thing) *[]string { return &s.list }, nil)), thing{list: []string{}}, nil},
		{given(list(func(s *thing) *[]string { return &s.list }, nil)), thing{list: []string{""}}, []string{""}},
		{given(exitCodes(func(s *thing) *[]int { return &s.codes })), thing{}, nil},
		{given(exitCodes(func(s *thing) *[]int { return &s.codes })), thing{codes: []int{0}}, []int{0}},
		{when(func(s *thing) bool { return s.flag }, duration(func(s *thing) *time.Duration { return &s.span }, 0)), thing{span: 1}, nil},
		{when(func(s *thing) bool { return s.flag }, duration(func(s *thing) *time.Duration { return &s.span }, 0)), thing{flag: true}, "0s"},
	} {
		if diff := cmp.Diff(tc.want, tc.f.value(&tc.s)); diff != "" {
			t.Errorf("case %d (-want +got):\n%s", i, diff)
		}
	}
}

// Rules beside a field reach decoder and schema, and do not reach the field that
// they were added to.
func TestRulesBesideAField(t *testing.T) {
	type thing struct{ list []string }
	plain := list(func(s *thing) *[]string { return &s.list }, nil)
	both := notEmpty(distinct(plain))
	if diff := cmp.Diff(Schema{"type": "array", "items": Schema{"type": "string"}, "uniqueItems": true, "minItems": 1}, both.schema()); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
	if len(plain.schema()) != 2 {
		t.Errorf("the plain field has %v", plain.schema())
	}
	for text, want := range map[string]int{`["a"]`: 0, `[]`: 1, `["a", "a", "a"]`: 2} {
		d, s := newDecoder(), thing{}
		doc := parseTOML(&source{data: []byte("x = " + text)})
		both.decode(d, doc.root.names["x"], &s)
		if len(d.faults) != want {
			t.Errorf("%s: %v", text, d.faults)
		}
	}
}

// durationText gives what a file would say, and the same duration again.
func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 5 * time.Minute: "5m", 90 * time.Second: "1m30s", time.Hour: "1h", 90 * time.Minute: "1h30m",
		time.Hour + time.Second: "1h0m1s", time.Millisecond: "1ms", 10 * time.Minute: "10m", 100 * time.Hour: "100h", maxDuration: "876000h",
	} {
		if got := durationText(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
		if again, err := time.ParseDuration(want); err != nil || again != d {
			t.Errorf("%s means %s, %v", want, again, err)
		}
	}
}

// More faults than a reader wants are counted and not listed.
func TestManyFaults(t *testing.T) {
	var b strings.Builder
	for i := range maxFaults + 20 {
		fmt.Fprintf(&b, "k%d = 1\n", i)
	}
	_, faults := merged("script = 'x'\n" + b.String())
	if len(faults) != maxFaults+1 || faults[maxFaults].Message != "and more faults that are not listed" {
		t.Errorf("%d faults, the last is %v", len(faults), faults[len(faults)-1])
	}
}
