// Package jsontext judges JSON text that others have written and others will read:
// the arguments of a job, its result, the data of a cache. encoding/json takes text
// that other readers refuse or read in another way: strings that are not UTF-8,
// halves of surrogate pairs, names twice in an object. RFC 8259 wants UTF-8 (8.1),
// and calls the rest unpredictable (4, 8.2).
package jsontext

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Check judges a text: that it is one JSON value in UTF-8 and as Strict wants it.
// The error says what is wrong, and at which byte, as "is not UTF-8 at byte 7".
func Check(text []byte, depth int) error {
	if at := invalidUTF8(text); at >= 0 {
		return fmt.Errorf("is not UTF-8 at byte %d", at)
	}
	if bytes.HasPrefix(text, []byte("\ufeff")) {
		return errors.New("begins with a byte order mark, which RFC 8259 forbids")
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return errors.New("is empty, and no JSON value")
	}
	if !json.Valid(text) {
		return grammar(json.Unmarshal(text, new(any)), len(text))
	}
	return Strict(text, depth)
}

// grammar words what encoding/json says of a text.
func grammar(err error, size int) error {
	at, ok := errors.AsType[*json.SyntaxError](err)
	switch {
	case !ok:
		return fmt.Errorf("is not JSON: %w", err)
	case strings.HasSuffix(err.Error(), "after top-level value"):
		return fmt.Errorf("is not one JSON value: something follows it at byte %d", at.Offset)
	case at.Offset >= int64(size) && strings.HasPrefix(err.Error(), "unexpected end"):
		return fmt.Errorf("is not JSON: it ends after %d bytes, in the middle of a value", size)
	}
	return fmt.Errorf("is not JSON: byte %d: %w", at.Offset, err)
}

// Strict judges what encoding/json has found to be one value: no half of a
// surrogate pair, no name twice in an object, no more than depth levels, since
// whoever reads it recurses.
func Strict(text []byte, depth int) error {
	if at := loneSurrogate(text); at >= 0 {
		return fmt.Errorf("%s is half of a surrogate pair", text[at:at+6])
	}
	sc := scanner{text: text, depth: depth}
	return sc.value()
}

// invalidUTF8 finds the first byte that is no UTF-8, -1 = there is none.
func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	for at := 0; ; {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n <= 1 {
			return at
		}
		at += n
	}
}

// loneSurrogate finds an escape such as \ud800 without its other half, and gives
// -1 if there is none. Such an escape stands for no character: encoding/json
// decodes each to U+FFFD, so that different values would become equal, and other
// readers refuse it.
func loneSurrogate(text []byte) int {
	unit := func(at int) rune { // the code unit of an escape, 0 where there is none
		if at+6 > len(text) || text[at] != '\\' || text[at+1] != 'u' {
			return 0
		}
		n, _ := strconv.ParseUint(string(text[at+2:at+6]), 16, 16)
		return rune(n)
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		switch r := unit(i); {
		case !utf16.IsSurrogate(r):
			i++ // skip the escaped character, which may be a backslash
		case utf16.DecodeRune(r, unit(i+6)) == unicode.ReplacementChar:
			return i
		default:
			i += 11
		}
	}
	return -1
}
