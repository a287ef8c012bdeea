package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line makes a text one line of printable characters: line breaks and tabs become
// spaces, and what is not Printable the replacement character, one for one, so
// that columns stay.
func Line(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\u2028' || r == '\u2029':
			return ' '
		case !Printable(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// Text is Line for a text of several lines: its line breaks and tabs stay.
func Text(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || Printable(r) {
			return r
		}
		return unicode.ReplacementChar
	}, strings.ReplaceAll(s, "\r\n", "\n"))
}

// Printable reports whether a terminal shows a character and does nothing else:
// no C0, no DEL, no C1, nothing that is invisible or changes the direction of the
// text (Unicode's class Cf), no line or paragraph separator. All spaces are
// printable.
func Printable(r rune) bool {
	if r == '\u2028' || r == '\u2029' {
		return false
	}
	return unicode.IsGraphic(r)
}

// JSON escapes in a JSON text what JSON may hold raw and a terminal obeys, DEL, C1
// and the like. The value stays the same. Bytes that are no UTF-8 become the
// replacement character: they were no JSON.
func JSON(text []byte) []byte {
	if !bytes.ContainsFunc(text, func(r rune) bool { return r == utf8.RuneError || !Printable(r) && r != '\n' }) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case r == '\n' || r == '\t' || Printable(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// EncodeJSON writes a value as JSON, one line.
func EncodeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return err
	}
	_, err := w.Write(JSON(b.Bytes()))
	return err
}

// Styled is a text of ours that may hold colours: Fprintf leaves it as it is.
type Styled string

// Fprintf is fmt.Fprintf, with each argument that is text made one printable
// line. The format is ours, and stays as it is.
func Fprintf(w io.Writer, format string, args ...any) error {
	_, err := io.WriteString(w, Sprintf(format, args...))
	return err
}

// Sprintf is fmt.Sprintf for Fprintf.
func Sprintf(format string, args ...any) string {
	clean := make([]any, len(args))
	for i, v := range args {
		clean[i] = printableArg(v)
	}
	return fmt.Sprintf(format, clean...)
}

// printableArg is an argument of Fprintf as it may be printed. Numbers, and what
// is one underneath, stay: their words are ours.
func printableArg(v any) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case Styled:
		return string(v)
	case error:
		return Line(v.Error())
	case []byte:
		return Line(string(v))
	case json.RawMessage:
		return Line(string(v))
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.String:
		return Line(r.String())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16,
		reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64, reflect.Bool:
		return v
	default:
		return Line(fmt.Sprint(v))
	}
}
