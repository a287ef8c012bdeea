package dispatchers

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"dispatchd/ipc"
)

// Fault is one thing that is wrong in one file.
type Fault struct {
	File       string
	Row        int    // from 1; 0 = the file as a whole
	Column     int    // in characters, from 1
	Key        string // dotted, "" where none is concerned
	Message    string
	Source     string // the line, printable, cut to a window around the column
	Suggestion string // the nearest known key, or what to do

	indent int // characters of Source before the caret
}

// Error says the fault in one line.
func (f Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.place())
	b.WriteString(f.text())
	if f.Suggestion != "" {
		b.WriteString(" (" + f.Suggestion + ")")
	}
	return b.String()
}

// Render says the fault in several lines, with the source line and a caret.
func (f Fault) Render() string {
	var b strings.Builder
	b.WriteString(f.place() + f.text())
	if f.Row > 0 {
		margin := fmt.Sprintf("%5d", f.Row)
		fmt.Fprintf(&b, "\n%s | %s\n%s | %s^", margin, f.Source, strings.Repeat(" ", len(margin)), strings.Repeat(" ", f.indent))
	}
	if f.Suggestion != "" {
		b.WriteString("\n      → " + f.Suggestion)
	}
	return b.String()
}

// place gives file:row:column, the form that editors and terminals follow.
func (f Fault) place() string {
	if f.Row == 0 {
		return f.File + ": "
	}
	return fmt.Sprintf("%s:%d:%d: ", f.File, f.Row, f.Column)
}

// text gives key and message.
func (f Fault) text() string {
	if f.Key == "" {
		return f.Message
	}
	return printable(f.Key) + ": " + f.Message
}

// source is one file that was read.
type source struct {
	path string
	data []byte
}

// window is how many characters of a long line are shown at most.
const window = 120

// fault makes a Fault for the place off bytes into the file.
func (s *source) fault(off int, key, format string, args ...any) Fault {
	off = min(max(off, 0), len(s.data))
	begin := bytes.LastIndexByte(s.data[:off], '\n') + 1
	line := s.data[begin:]
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = line[:end]
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	before := utf8.RuneCount(s.data[begin:off])
	f := Fault{
		File: s.path, Row: bytes.Count(s.data[:begin], []byte("\n")) + 1, Column: before + 1,
		Key: key, Message: fmt.Sprintf(format, args...),
	}
	f.Source, f.indent = excerpt(line, before)
	return f
}

// excerpt cuts a long line to a window around the caret, and makes it safe for a
// terminal: a definition may hold escape sequences.
func excerpt(line []byte, caret int) (string, int) {
	// Columns are characters, as editors count them, while TOML counts bytes.
	runes := []rune(string(line))
	if len(runes) > window {
		from := max(0, min(caret-window/2, len(runes)-window))
		runes = runes[from:min(len(runes), from+window)]
		caret -= from
	}
	return printable(string(runes)), caret
}

// printable replaces characters that a terminal could act upon, one by one, so
// that columns stay.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '�'
		}
		return r
	}, s)
}

// sortFaults orders faults by place.
func sortFaults(faults []Fault) {
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Row, b.Row), cmp.Compare(a.Column, b.Column))
	})
}

// nearest gives the known word that is nearest to a wrong one, "" when none is.
func nearest(word string, known []string) string {
	if near := ipc.Nearest(word, known); near != "" || len(word) < 3 || len(word) > 64 {
		return near
	}
	// An abbreviation or a longer form is far in letters: desc for description,
	// timeout_seconds for timeout.
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "-", "_")) }
	for _, k := range known {
		if strings.HasPrefix(plain(k), plain(word)) || strings.HasPrefix(plain(word), plain(k)+"_") {
			return k
		}
	}
	return ""
}

// suggest words the suggestion of nearest.
func suggest(word string, known []string) string {
	if k := nearest(word, known); k != "" {
		return fmt.Sprintf("did you mean %s?", k)
	}
	return ""
}
