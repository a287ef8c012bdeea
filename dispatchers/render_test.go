package dispatchers

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// A fault's forms: one line for a log, several with source and caret for people.
func TestRender(t *testing.T) {
	src := &source{path: "a.toml", data: []byte("one = 1\n\ttwo = \"é\" # x\r\nthree")}
	for _, tc := range []struct {
		off          int
		key, message string
		suggestion   string
		line, render string
	}{
		{0, "one", "is bad", "", "a.toml:1:1: one: is bad", "a.toml:1:1: one: is bad\n    1 | one = 1\n      | ^"},
		{9, "two", "is bad", "write it", "a.toml:2:2: two: is bad (write it)", "a.toml:2:2: two: is bad\n    2 |  two = \"é\" # x\n      |  ^\n      → write it"},
		{20, "", "is bad", "", "a.toml:2:12: is bad", "a.toml:2:12: is bad\n    2 |  two = \"é\" # x\n      |            ^"},
		{99, "", "ends", "", "a.toml:3:6: ends", "a.toml:3:6: ends\n    3 | three\n      |      ^"},
		{-1, "\x1b", "is bad", "", "a.toml:1:1: �: is bad", "a.toml:1:1: �: is bad\n    1 | one = 1\n      | ^"},
	} {
		f := src.fault(tc.off, tc.key, "%s", tc.message)
		f.Suggestion = tc.suggestion
		if got := f.Error(); got != tc.line {
			t.Errorf("line %q, want %q", got, tc.line)
		}
		if got := f.Render(); got != tc.render {
			t.Errorf("render\n%s\nwant\n%s", got, tc.render)
		}
	}
	whole := Fault{File: "a.toml", Message: "is UTF-16"}
	if got := whole.Render(); got != "a.toml: is UTF-16" {
		t.Errorf("a fault of the whole file: %q", got)
	}
}

// The caret stands below the character at the place, however long the line is
// and whatever it has in it, and the shown line is bounded.
func TestCaret(t *testing.T) {
	char := rapid.SampledFrom([]string{"a", "é", "€", "𝄞", "\t", "\x1b", " "})
	rapid.Check(t, func(t *rapid.T) {
		before := strings.Join(rapid.SliceOfN(char, 0, 400).Draw(t, "before"), "")
		after := strings.Join(rapid.SliceOfN(char, 0, 400).Draw(t, "after"), "")
		rows := rapid.IntRange(0, 3).Draw(t, "rows")
		text := strings.Repeat("x\n", rows) + before + "#" + after + "\nnext"
		f := (&source{path: "a", data: []byte(text)}).fault(2*rows+len(before), "", "here")
		if want := utf8.RuneCountInString(before) + 1; f.Row != rows+1 || f.Column != want {
			t.Fatalf("%d:%d, want %d:%d", f.Row, f.Column, rows+1, want)
		}
		lines := strings.Split(f.Render(), "\n")
		shown, caret := []rune(lines[1]), strings.IndexByte(lines[2], '^')
		if len(shown) > window+8 || caret >= len(shown) || shown[caret] != '#' {
			t.Fatalf("\n%s\n%s", lines[1], lines[2])
		}
	})
}

// printable keeps the number of characters, so that columns stay.
func TestPrintable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text")
		got := printable(s)
		if utf8.RuneCountInString(got) != utf8.RuneCountInString(s) || strings.ContainsAny(got, "\x00\x1b\t\n\r\u202e\u2028") {
			t.Fatalf("%q became %q", s, got)
		}
		if again := printable(got); again != got {
			t.Fatalf("%q is changed once more to %q", got, again)
		}
	})
}
