package dispatchers

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBrokenForm: files that are no TOML, or not what people think they are.
// Line 1 is command = ["true"], the text below begins in line 2, and each has
// exactly the one fault that is wanted, or none.
func TestBrokenForm(t *testing.T) {
	const ok = ""
	for _, tc := range []struct{ text, want string }{
		// What editors and transfers do to files.
		{"timeout = 5\r\nmax_queue = 3\r\n", ok},
		{"timeout = 5\rmax_queue = 3", `2:12: has a carriage return that is no part of a line end (save it with line ends of LF, or of CR LF)`},
		{"# a\rb", `2:4: has a carriage return that is no part of a line end (save it with line ends of LF, or of CR LF)`},
		{"\x00", `2:1: TOML: invalid character at start of key: U+0000`},
		{"# \x00", `2:3: TOML: control characters are not allowed in comments`},
		{"\x1a", `2:1: TOML: invalid character at start of key: U+001A`},
		{"# \xff", `2:3: TOML: invalid UTF-8 character in comment`},
		{"\xff = 1", `2:1: TOML: invalid UTF-8`},
		{"description = \"\xff\"", `2:16: TOML: invalid UTF-8 character in basic string`},
		{"description = 'a\xc3(b'", `2:17: TOML: invalid UTF-8 character in literal string`},
		{"d\u00e9 = 1", `2:2: TOML: 'é' may stand in quotes and comments only`},
		{"\u202etimeout = 1", `2:1: TOML: '\u202e' may stand in quotes and comments only`},
		{"timeout = \u201c5m\u201d", `2:11: TOML: '“' may stand in quotes and comments only`},
		{"timeout = 5\u00a0", `2:12: TOML: '\u00a0' may stand in quotes and comments only`},
		{"\"d\u00e9\" = 1", `2:1: "dé": unknown key`},
		{`"" = 1`, `2:1: "": unknown key`},
		{`"a.b" = 1`, `2:1: "a.b": unknown key`},
		{"\"\\u001b\" = 1", `2:1: "\x1b": unknown key`},

		// Strings.
		{"description = \"a\x01\"", `2:17: TOML: basic strings cannot have control characters`},
		{`description = "\ud800"`, `2:16: TOML: escape sequence is not a valid unicode code point`},
		{`description = "\U00110000"`, `2:16: TOML: escape sequence is not a valid unicode code point`},
		{`description = "C:\programs"`, `2:18: TOML: invalid escape character U+0070 'p'`},
		{`description = "\u0000"`, `2:15: description: contains a zero byte`},
		{"description = \"a\nb\"", `2:17: TOML: basic strings cannot have new lines`},
		{`description = "a`, `2:16: TOML: unterminated basic string`},
		{"description = \"\"\"a\nb\"\"\"", `2:15: description: has control characters, want one line of text`},
		{`description = """a`, `2:18: TOML: multiline basic string not terminated by """`},
		{`description = '''a`, `2:18: TOML: multiline literal string not terminated by '''`},

		// Numbers, dates, words.
		{"timeout = 1_000", ok},
		{"timeout = 0x10", ok},
		{"timeout = +5", ok},
		{"timeout = 1__0", `2:12: TOML: number must have at least one digit between underscores`},
		{"timeout = 01", `2:11: TOML: integers cannot have leading zeroes`},
		{"timeout = 1.", `2:12: TOML: decimal point must be followed by a digit`},
		{"max_queue = 0xffffffffffffffffff", `2:13: max_queue: 0xffffffffffffffffff is too large, want at most 2147483647`},
		{"max_queue = -99999999999999999999", `2:13: max_queue: -99999999999999999999 is too small, want at least 0`},
		{"max_queue = inf", `2:13: max_queue: want an integer, not a number with a fraction`},
		{"max_queue = -nan", `2:13: max_queue: want an integer, not a number with a fraction`},
		{"max_queue = 1e3", `2:13: max_queue: want an integer, not a number with a fraction`},
		{"max_queue = 2026-02-30", `2:13: max_queue: want an integer, not a date or time`},
		{"max_queue = 25:61:00", `2:13: max_queue: want an integer, not a date or time`},
		{"max_queue = 2026-01-01T00:00:00+99:99", `2:13: max_queue: want an integer, not a date or time`},
		{"timeout = 5m", `2:12: TOML: strings must be quoted (text stands in quotes: "5m")`},
		{"coalesce = yes", `2:12: TOML: unexpected character U+0079 'y' at start of value (write true)`},
		{"coalesce = False", `2:12: TOML: unexpected character U+0046 'F' at start of value (write false)`},
		{"kill_mode = none", `2:13: TOML: expected keyword "nan" (text stands in quotes: "none")`},
		{"kill_mode = group", `2:13: TOML: unexpected character U+0067 'g' at start of value (text stands in quotes: "group")`},

		// Keys and values.
		{"timeout", `2:7: TOML: expected '=' after key`},
		{"timeout =", `2:9: TOML: expected value, not end of input`},
		{"timeout: 5", `2:8: TOML: expected '=' after key (write = in place of :)`},
		{"timeout == 5", `2:10: TOML: unexpected character U+003D '=' at start of value`},
		{"= 5", `2:1: TOML: invalid character at start of key: U+003D '='`},
		{"timeout = 5 6", `2:13: TOML: expected newline but got U+0036 '6'`},
		{"{}", `2:1: TOML: invalid character at start of key: U+007B '{'`},
		{"command = []", `2:1: command: is set twice, first in line 1`},
		{"command.x = 1", `2:1: command: is set twice, first in line 1`},
		{"timeout = 1\n[timeout.x]", `3:2: timeout: is set twice, first in line 2`},

		// Tables.
		{"[ locks ]\n'exclusive' = [\"a\",]", ok},
		{"locks . exclusive = [\n\"a\", # one\n]", ok},
		{"retry = {}", ok},
		{"[", `2:1: TOML: expected key but reached end of input`},
		{"[]", `2:2: TOML: invalid character at start of key: U+005D ']'`},
		{"[retry", `2:6: TOML: expected ']' to close table name`},
		{"[[retry]", `2:8: TOML: expected ']]' to close array table name`},
		{"[retry] x", `2:9: TOML: expected newline but got U+0078 'x'`},
		{"[retry]\n[retry]", `3:2: retry: is set twice, first in line 2`},
		{"retry = {attempts=1}\n[retry]", `3:2: retry: is set twice, first in line 2`},
		{"retry = {attempts=1}\nretry.backoff=1", `3:1: retry.backoff: TOML: key retry is already defined`},
		{"retry.attempts = 1\n[retry]", `3:2: retry: TOML: table retry already exists as defined by a dotted key`},
		{"retry = {attempts=1 backoff=2}", `2:21: TOML: expected ',' or '}' after inline table key-value`},
		{"retry = {,}", `2:10: TOML: unexpected comma in inline table`},
		{"retry = [{attempts=1}]", `2:9: retry: want a table, not a list`},
		{"[retry.x]", `2:8: retry.x: unknown key`},
		{"[environment.A]\nB = 'x'", `2:14: environment.A: want a string, not a table`},
		{"locks.exclusive = [\"a\" \"b\"]", `2:24: TOML: expected ',' or ']' after array value`},
		{"locks.exclusive = [[\"a\"]]", `2:19: locks.exclusive[0]: want a string, not a list`},
	} {
		c, root := load(t, map[string]string{"etc/a.toml": "command = [\"true\"]\n" + tc.text}, nil)
		var got strings.Builder
		for _, f := range c.Faults {
			got.WriteString(strings.TrimPrefix(f.Error(), filepath.Join(root, "etc/a.toml:")))
		}
		if diff := cmp.Diff(tc.want, got.String()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tc.text, diff)
		}
		if (c.Specs["a"] == nil) != (tc.want != ok) {
			t.Errorf("%q: dispatcher %v beside %q", tc.text, c.Specs["a"], got.String())
		}
	}
}

// TestEncodings: a file that is not UTF-8 from its first byte on says so, and
// what can be read of it is judged as well.
func TestEncodings(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"\ufeffcommand = [\"true\"]\n", "1:1: begins with a byte order mark (save it as UTF-8 without one)"},
		{"\ufeff", "1:1: begins with a byte order mark (save it as UTF-8 without one)|1:1: command: is missing"},
		{"\ufeffcommand = [\"true\"]\ntimeuot = 5", "1:1: begins with a byte order mark (save it as UTF-8 without one)|2:1: timeuot: unknown key (did you mean timeout?)"},
		{"\ufefftimeuot = 5\ncommand = [", "1:1: begins with a byte order mark (save it as UTF-8 without one)|1:2: timeuot: unknown key (did you mean timeout?)|2:11: TOML: array is incomplete"},
		{"\xff\xfec\x00o\x00", " is UTF-16, want UTF-8"},
		{"\xfe\xff\x00c\x00o", " is UTF-16, want UTF-8"},
	} {
		c, root := load(t, map[string]string{"etc/a.toml": tc.text}, nil)
		var got []string
		for _, f := range c.Faults {
			text := strings.TrimPrefix(f.Error(), filepath.Join(root, "etc/a.toml:"))
			got = append(got, strings.TrimSuffix(text, ` (every dispatcher needs command = ["/path/to/program", …], script = "…" or php_class = "…")`))
		}
		if diff := cmp.Diff(tc.want, strings.Join(got, "|")); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tc.text, diff)
		}
	}
}
