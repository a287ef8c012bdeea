package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"dispatchd/test/box"
)

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain äöü 漢字 é":             "plain äöü 漢字 é",
		"two\nlines\tand\ttabs":      "two lines and tabs",
		"\x1b]0;title\x07":           "�]0;title�",
		"\u009b2J c1":                "�2J c1",
		"\x9b2J no UTF-8":            "�2J no UTF-8",
		"a\x7fb\x00c\rd":             "a�b�c�d",
		"right\u202eto left\u2066 x": "right�to left� x",
		"line\u2028para\u2029":       "line para ",
		"zero\u200bwidth\ufeff":      "zero�width�",
		"no\u00a0break":              "no\u00a0break",
		"":                           "",
	} {
		if got := Line(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := Text("a\r\nb\tc\x1b[1m\rd"); got != "a\nb\tc�[1m�d" {
		t.Errorf("%q", got)
	}
}

type word string

func (w word) String() string { return "never\x1b asked" }

// Text becomes one line whatever its type is; numbers and our own colours stay.
func TestSprintf(t *testing.T) {
	got := Sprintf("%s|%s|%v|%q|%d|%04o|%s|%s|%v|%v|%s",
		"a\nb", word("n\x1bm"), errors.New("e\x1b[2J"), "q\x1b", 7, fs.FileMode(0o640), 2*time.Second,
		Styled("\x1b[31mred\x1b[0m"), []string{"x\x1b"}, nil, json.RawMessage("\"\x7f\""))
	want := "a b|n�m|e�[2J|\"q�\"|7|0640|2s|\x1b[31mred\x1b[0m|[x�]|<nil>|\"�\""
	if got != want {
		t.Errorf("%q, want\n%q", got, want)
	}
}

// JSON is escaped, and stays the same value.
func TestEncodeJSON(t *testing.T) {
	in := map[string]string{"k\u009b": "\x7f\u202e\U000e0041 ok äö \x1b"}
	var b bytes.Buffer
	if err := EncodeJSON(&b, in); err != nil {
		t.Fatal(err)
	}
	if bad := box.Drives(b.String()); bad != "" {
		t.Errorf("drives a terminal: %q", bad)
	}
	var back map[string]string
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back["k\u009b"] != in["k\u009b"] {
		t.Errorf("%q: %v", back, err)
	}
}

// filtered is what passes when the text comes in pieces of n bytes.
func filtered(t testing.TB, text string, n int, colors bool) string {
	t.Helper()
	var b strings.Builder
	f := &Filter{W: &b, Colors: colors}
	for i := 0; i < len(text); i += n {
		if _, err := f.Write([]byte(text[i:min(len(text), i+n)])); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The filter's result does not depend on where the pieces of a text end.
func TestFilter(t *testing.T) {
	for in, want := range map[string]string{
		"one\ntwo\tthree\n":                      "one\ntwo\tthree\n",
		"\x1b[1;31mred\x1b[0m plain":             "\x1b[1;31mred\x1b[0m plain",
		"\x1b[38;5;8mgrey":                       "\x1b[38;5;8mgrey\x1b[0m",
		"\x1b[38;2;8;8;8mgrey\x1b[m":             "\x1b[38;2;8;8;8mgrey\x1b[m",
		"\x1b[8mhidden":                          "hidden",
		"\x1b[1;08mhidden":                       "hidden",
		"\x1b[2J\x1b[Hclear":                     "clear",
		"\x1b(B\x1b[mreset":                      "\x1b[mreset",
		"\x1b]0;title\x07text":                   "�]0;title�text",
		"\x1b]52;c;cm0=\x1b\\clip":               "�]52;c;cm0=�\\clip",
		"\x1bPq\x1b\\":                           "�Pq�\\",
		"\x1bc":                                  "�c",
		"10%\r20%\r\n30%\r\r\n":                  "10%\n20%\n30%\n",
		"end\r":                                  "end\n",
		"\u009b2J \x9b2J \x00\x07\x08\x7f":       "�2J �2J ����",
		"\u202eabc\u2069":                        "�abc�",
		"\x1b[" + strings.Repeat("1", 100) + "m": "�[" + strings.Repeat("1", 100) + "m",
		"cut \x1b[3":                             "cut �[3",
		"cut \xe6\xbc":                           "cut ��",
		"漢":                                      "漢",
	} {
		for n := 1; n <= len(in); n++ {
			if got := filtered(t, in, n, true); got != want {
				t.Errorf("%q in pieces of %d: %q, want %q", in, n, got, want)
			}
		}
	}
	if got := filtered(t, "\x1b[31mred\x1b[0m", 3, false); got != "red" {
		t.Errorf("without colours: %q", got)
	}
}

// A prompt without a line break comes at once.
func TestFilterHoldsNothingBack(t *testing.T) {
	var b strings.Builder
	f := &Filter{W: &b}
	_, _ = f.Write([]byte("Password: "))
	if b.String() != "Password: " {
		t.Errorf("%q", b.String())
	}
}

func FuzzFilter(f *testing.F) {
	f.Add([]byte("\x1b[31mred\x1b]0;t\x07\xc2\x9b\r\n"), 3)
	f.Fuzz(func(t *testing.T, text []byte, n int) {
		whole := filtered(t, string(text), max(1, len(text)), true)
		if bad := box.Drives(whole); bad != "" {
			t.Errorf("%q drives a terminal: %q", text, bad)
		}
		if got := filtered(t, string(text), max(1, n%64), true); got != whole {
			t.Errorf("%q: in pieces %q, whole %q", text, got, whole)
		}
		if bad := box.Drives(Line(string(text))); bad != "" {
			t.Errorf("Line(%q): %q", text, bad)
		}
	})
}

// On a terminal everything is filtered but Raw; into a file nothing is. A write
// that fails is remembered.
func TestOutput(t *testing.T) {
	var b bytes.Buffer
	o := NewOutput(&b)
	to, done := o.Job(false, true)
	_, _ = to.Write([]byte("\x1b]0;t\x07"))
	if err := errors.Join(done(), o.Close()); err != nil || b.String() != "\x1b]0;t\x07" {
		t.Errorf("a pipe: %q, %v", b.String(), err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	o = NewOutput(full)
	_ = Fprintf(o, "words\n")
	if o.Err() == nil || o.Close() == nil {
		t.Errorf("/dev/full: %v", o.Err())
	}
}
