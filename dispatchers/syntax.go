package dispatchers

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// readable gives the text for the parser, as long as the file so that places
// agree. It reports a byte order mark and UTF-16 by name, since an editor that
// writes them does not show them.
func (d *document) readable() []byte {
	data := d.src.data
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		f := d.src.fault(0, "", "begins with a byte order mark")
		f.Suggestion = "save it as UTF-8 without one"
		d.faults = append(d.faults, f)
		data = append([]byte("   "), data[3:]...)
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		d.broken = true
		d.faults = append(d.faults, Fault{File: d.src.path, Message: "is UTF-16, want UTF-8"})
		return nil
	}
	if at := bytes.IndexByte(data, '\r'); at >= 0 {
		f := d.src.fault(at, "", "has a carriage return that is no part of a line end")
		f.Suggestion = "save it with line ends of LF, or of CR LF"
		d.broken, d.faults = true, append(d.faults, f)
		return nil // nobody knows where its lines end
	}
	// The library computes places from capacities: the array must end with the
	// data.
	return slices.Clip(data)
}

// syntax makes a fault of the library's message about the form of the file.
func (s *source) syntax(off int, message string) Fault {
	off = min(max(off, 0), len(s.data))
	// The library names a byte where the reader sees a character.
	if rest := s.data[off:]; len(rest) > 0 && rest[0] >= utf8.RuneSelf && !strings.Contains(message, "UTF-8") {
		if r, size := utf8.DecodeRune(rest); r == utf8.RuneError && size == 1 {
			message = "invalid UTF-8"
		} else {
			message = fmt.Sprintf("%q may stand in quotes and comments only", r)
		}
	}
	f := s.fault(off, "", "TOML: %s", message)
	switch {
	case strings.Contains(message, "after key") && bytes.HasPrefix(s.data[off:], []byte(":")):
		f.Suggestion = "write = in place of :"
	case strings.Contains(message, "start of value"), strings.Contains(message, "expected keyword"), strings.Contains(message, "must be quoted"):
		f.Suggestion = quoted(s.wordAt(off))
	}
	return f
}

// wordAt gives the bare word around a place.
func (s *source) wordAt(off int) string {
	inWord := func(c byte) bool {
		return c == '_' || c == '-' || c == '+' || c == '.' || c == '/' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
	}
	from, to := off, off
	for from > 0 && inWord(s.data[from-1]) {
		from--
	}
	for to < len(s.data) && inWord(s.data[to]) {
		to++
	}
	return string(s.data[from:to])
}

// quoted suggests what a bare word was meant to be.
func quoted(word string) string {
	switch strings.ToLower(word) {
	case "":
		return ""
	case "true", "yes", "on":
		return "write true"
	case "false", "no", "off":
		return "write false"
	}
	return fmt.Sprintf("text stands in quotes: %q", clip(word))
}
