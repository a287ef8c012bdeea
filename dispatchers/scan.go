package dispatchers

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// scanner reads one JSON value that json.Compact has found valid, and finds what
// encoding/json lets pass: duplicate names and great depth. Every notify passes
// it, so it allocates only for names, where json.Decoder.Token does for each value.
type scanner struct {
	text  []byte
	at    int
	steps []step // where it is
}

// step leads into a value: to a member, or else to an element.
type step struct {
	name  []byte // nil = an element
	index int
}

// value reads one value and refuses duplicate names and great depth.
func (sc *scanner) value() error {
	opening := sc.text[sc.at]
	switch opening {
	case '"':
		sc.quoted()
		return nil
	case '{', '[':
	default:
		sc.scalar()
		return nil
	}
	if len(sc.steps) >= maxDepth {
		return fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	sc.at++
	var seen names
	for i := 0; sc.text[sc.at] != '}' && sc.text[sc.at] != ']'; i++ {
		if sc.text[sc.at] == ',' {
			sc.at++
		}
		s := step{index: i}
		if opening == '{' {
			s.name = unquoted(sc.quoted())
			sc.at++ // the colon
			if !seen.add(s.name) {
				return fmt.Errorf("name %q twice in %q", clip(string(s.name)), sc.path())
			}
		}
		sc.steps = append(sc.steps, s)
		if err := sc.value(); err != nil {
			return err
		}
		sc.steps = sc.steps[:len(sc.steps)-1]
	}
	sc.at++
	return nil
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
	for sc.at < len(sc.text) {
		switch sc.text[sc.at] {
		case ',', ']', '}':
			return
		}
		sc.at++
	}
}

// path gives the place of the scanner, as in $.a[3].
func (sc *scanner) path() string {
	path := "$"
	for _, s := range sc.steps {
		if s.name == nil {
			path = element(path, s.index)
		} else {
			path = join(path, clip(string(s.name)))
		}
	}
	return path
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

// names are the names of one object: up to 16 in a list, more in a map, so that
// an object of 100,000 names is not compared with itself.
type names struct {
	few  [][]byte
	many map[string]bool
}

// add takes a name, and reports whether it is new.
func (n *names) add(name []byte) bool {
	if n.many != nil {
		before := len(n.many)
		n.many[string(name)] = true
		return len(n.many) > before
	}
	for _, other := range n.few {
		if string(other) == string(name) {
			return false
		}
	}
	n.few = append(n.few, name)
	if len(n.few) > 16 {
		n.many = make(map[string]bool, 2*len(n.few))
		for _, other := range n.few {
			n.many[string(other)] = true
		}
	}
	return true
}
