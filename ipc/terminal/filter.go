package terminal

import (
	"bytes"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Filter passes on the output of a job as a terminal may see it: text, line
// breaks, tabs and, if Colors is set, colours. Other sequences that begin with
// ESC [ or choose a character set say nothing to a reader and are left out; all
// else that is not Printable becomes the replacement character. A carriage return
// begins a new line: what stood there before stays to be seen. It holds back the
// begun rest of a sequence until it is whole, and nothing else, so that a
// prompt comes at once.
type Filter struct {
	W      io.Writer
	Colors bool

	rest    []byte // a sequence or character that is not whole yet
	colored bool   // the last colour was not the plain one
}

// longest bounds a sequence that is waited for; a longer one is no sequence.
const longest = 64

// Write passes on what is whole.
func (f *Filter) Write(p []byte) (int, error) {
	text, rest := f.clean(append(f.rest, p...))
	f.rest = bytes.Clone(rest)
	if len(text) > 0 {
		if _, err := f.W.Write(text); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Flush passes on what was held back, and goes back to the plain colour.
func (f *Filter) Flush() error {
	var b bytes.Buffer
	for _, r := range string(f.rest) {
		switch {
		case r == '\r':
			b.WriteByte('\n')
		case Printable(r):
			b.WriteRune(r)
		default:
			b.WriteRune(unicode.ReplacementChar)
		}
	}
	f.rest = nil
	if f.colored {
		b.WriteString("\x1b[0m")
		f.colored = false
	}
	if b.Len() == 0 {
		return nil
	}
	_, err := f.W.Write(b.Bytes())
	return err
}

// clean gives what may be shown of data, and the rest of it that is not whole.
func (f *Filter) clean(data []byte) (text, rest []byte) {
	var b bytes.Buffer
	for len(data) > 0 {
		switch c := data[0]; {
		case c == '\r':
			more := bytes.TrimLeft(data, "\r")
			if len(more) == 0 {
				return b.Bytes(), data[:1]
			}
			b.WriteByte('\n')
			data = bytes.TrimPrefix(more, []byte("\n"))
		case c == 0x1b:
			n, whole := sequence(data)
			if !whole {
				return b.Bytes(), data
			}
			f.escape(&b, data[:n])
			data = data[n:]
		case !utf8.FullRune(data):
			return b.Bytes(), data
		default:
			r, n := utf8.DecodeRune(data)
			if r != '\n' && r != '\t' && !Printable(r) {
				r = unicode.ReplacementChar
			}
			b.WriteRune(r)
			data = data[n:]
		}
	}
	return b.Bytes(), nil
}

// escape writes what is left of a sequence: a colour, nothing, or of an ESC that
// begins none the replacement character.
func (f *Filter) escape(b *bytes.Buffer, seq []byte) {
	switch {
	case len(seq) == 1:
		b.WriteRune(unicode.ReplacementChar)
	case f.Colors && isColor(seq):
		b.Write(seq)
		f.colored = string(seq) != "\x1b[m" && string(seq) != "\x1b[0m"
	}
}

// sequence gives the length of the sequence that data begins with: ESC [ and a
// final byte, or ESC, intermediate bytes and a final one (ECMA-48). It is 1 for an
// ESC that begins another thing, such as a title, and not whole where data ends
// before that can be said.
func sequence(data []byte) (n int, whole bool) {
	middle := func(c byte) bool { return c >= 0x20 && c <= 0x2f }
	final := func(c byte) bool { return c >= 0x30 && c <= 0x7e }
	i := 1
	if i < len(data) && data[i] == '[' {
		i++
		for i < len(data) && data[i] >= 0x30 && data[i] <= 0x3f {
			i++
		}
		final = func(c byte) bool { return c >= 0x40 && c <= 0x7e }
	} else if i < len(data) && !middle(data[i]) {
		return 1, true
	}
	for i < len(data) && middle(data[i]) {
		i++
	}
	switch {
	case i >= longest:
		return 1, true
	case i == len(data):
		return 0, false
	case !final(data[i]):
		return 1, true
	}
	return i + 1, true
}

// isColor reports whether a sequence sets colours and the like (SGR). One that
// conceals text does not count: it would hide what a job says.
func isColor(seq []byte) bool {
	inner, ok := strings.CutSuffix(string(seq), "m")
	inner, begins := strings.CutPrefix(inner, "\x1b[")
	if !ok || !begins || strings.Trim(inner, "0123456789;:") != "" {
		return false
	}
	params := strings.Split(inner, ";")
	for i := 0; i < len(params); i++ {
		switch params[i] {
		case "38", "48", "58": // 5;N or 2;R;G;B follow
			i += len(extended(params[i+1:]))
		default:
			if strings.TrimLeft(params[i], "0") == "8" {
				return false
			}
		}
	}
	return true
}

// extended are the parameters of a colour of 256 or of 16 million.
func extended(params []string) []string {
	if len(params) == 0 {
		return nil
	}
	switch params[0] {
	case "5":
		return params[:min(2, len(params))]
	case "2":
		return params[:min(4, len(params))]
	}
	return nil
}
