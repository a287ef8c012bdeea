package jsontext

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// scanner reads one JSON value that encoding/json has found valid, and finds what
// that lets pass: duplicate names and great depth. Every notify passes it, so it
// allocates only for names, where json.Decoder.Token does for each value.
type scanner struct {
	text  []byte
	at    int
	depth int
	steps []step // where it is
}

// step leads into a value: to a member, or else to an element.
type step struct {
	name  []byte // nil = an element
	index int
}

// space passes white space.
func (sc *scanner) space() {
	for sc.at < len(sc.text) && (sc.text[sc.at] == ' ' || sc.text[sc.at] == '\n' || sc.text[sc.at] == '\t' || sc.text[sc.at] == '\r') {
		sc.at++
	}
}

// next passes white space and gives the byte behind it.
func (sc *scanner) next() byte {
	sc.space()
	return sc.text[sc.at]
}

// value reads one value and refuses duplicate names and great depth.
func (sc *scanner) value() error {
	opening := sc.next()
	switch opening {
	case '"':
		sc.quoted()
		return nil
	case '{', '[':
	default:
		sc.scalar()
		return nil
	}
	if len(sc.steps) >= sc.depth {
		return fmt.Errorf("nested deeper than %d levels", sc.depth)
	}
	sc.at++
	var seen names
	for i := 0; sc.next() != '}' && sc.text[sc.at] != ']'; i++ {
		if sc.text[sc.at] == ',' {
			sc.at++
		}
		s := step{index: i}
		if opening == '{' {
			sc.space()
			s.name = unquoted(sc.quoted())
			sc.space()
			sc.at++ // the colon
			if !seen.add(s.name) {
				return sc.twice(s.name)
			}
		}
		sc.steps = append(sc.steps, s)
		if err := sc.value(); err != nil {
			return err
		}
		sc.steps = sc.steps[:len(sc.steps)-1]
	}
	sc.at++
	if name := seen.twice(); name != nil {
		return sc.twice(name)
	}
	return nil
}

// twice is the fault of a name that an object has twice.
func (sc *scanner) twice(name []byte) error {
	return fmt.Errorf("name %q twice in %q", clip(string(name)), sc.path())
}

// quoted passes a string and gives it with its quotes.
func (sc *scanner) quoted() []byte {
	begin := sc.at
	for sc.at++; sc.text[sc.at] != '"'; sc.at++ {
		if sc.text[sc.at] == '\\' {
			sc.at++
		}
	}
	sc.at++
	return sc.text[begin:sc.at]
}

// scalar passes a number, true, false or null.
func (sc *scanner) scalar() {
	for sc.at < len(sc.text) && bytes.IndexByte([]byte(",]} \n\t\r"), sc.text[sc.at]) < 0 {
		sc.at++
	}
}

// path gives the place of the scanner, as in $.a[3].
func (sc *scanner) path() string {
	const most = 200
	path := "$"
	for _, s := range sc.steps {
		switch {
		case len(path) > most:
		case s.name == nil:
			path += "[" + strconv.Itoa(s.index) + "]"
		case isBare(s.name):
			path += "." + clip(string(s.name))
		default:
			path += "." + strconv.Quote(clip(string(s.name)))
		}
	}
	return path
}

// isBare reports whether a name needs no quotes.
func isBare(name []byte) bool {
	return len(name) > 0 && len(bytes.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")) == 0
}

// clip shortens a name for a message.
func clip(s string) string {
	if r := []rune(s); len(r) > 64 {
		return string(r[:64]) + "…"
	}
	return s
}

// unquoted is a string without its quotes and escapes, never nil.
func unquoted(text []byte) []byte {
	if bytes.IndexByte(text, '\\') >= 0 {
		var s string
		_ = json.Unmarshal(text, &s) // it is known to be valid
		return []byte(s)
	}
	return text[1 : len(text)-1]
}

// names are the names of one object. Up to few of them are compared with each
// other; more are sorted in the end, so that an object of 100,000 names is not
// compared with itself, and costs no map either: 24 bytes a name.
type names struct{ list [][]byte }

// few is how many names are compared one by one.
const few = 16

// add takes a name. It reports whether it is new, as far as that is told now.
func (n *names) add(name []byte) bool {
	if len(n.list) < few {
		for _, other := range n.list {
			if bytes.Equal(other, name) {
				return false
			}
		}
	}
	n.list = append(n.list, name)
	return true
}

// twice gives a name that was added twice, nil = there is none.
func (n *names) twice() []byte {
	if len(n.list) <= few {
		return nil
	}
	slices.SortFunc(n.list, bytes.Compare)
	for i, name := range n.list[1:] {
		if bytes.Equal(n.list[i], name) {
			return name
		}
	}
	return nil
}
