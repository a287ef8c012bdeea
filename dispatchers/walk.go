package dispatchers

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// walker reads one JSON value that is known to be valid and without space, to
// find what encoding/json lets pass. It is on the way of every notify, so it
// makes nothing that it does not need.
type walker struct {
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
func (w *walker) value() error {
	opening := w.text[w.at]
	switch opening {
	case '"':
		w.quoted()
		return nil
	case '{', '[':
	default:
		w.scalar()
		return nil
	}
	if len(w.steps) >= maxDepth {
		return fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	w.at++
	var seen names
	for i := 0; w.text[w.at] != '}' && w.text[w.at] != ']'; i++ {
		if w.text[w.at] == ',' {
			w.at++
		}
		s := step{index: i}
		if opening == '{' {
			s.name = unquoted(w.quoted())
			w.at++ // the colon
			if !seen.add(s.name) {
				return fmt.Errorf("name %q twice in %q", clip(string(s.name)), w.path())
			}
		}
		w.steps = append(w.steps, s)
		if err := w.value(); err != nil {
			return err
		}
		w.steps = w.steps[:len(w.steps)-1]
	}
	w.at++
	return nil
}

// quoted passes a string and gives it with its quotes.
func (w *walker) quoted() []byte {
	begin := w.at
	for w.at++; w.text[w.at] != '"'; w.at++ {
		if w.text[w.at] == '\\' {
			w.at++
		}
	}
	w.at++
	return w.text[begin:w.at]
}

// scalar passes a number, true, false or null.
func (w *walker) scalar() {
	for w.at < len(w.text) {
		switch w.text[w.at] {
		case ',', ']', '}':
			return
		}
		w.at++
	}
}

// path says where the walker is.
func (w *walker) path() string {
	path := "$"
	for _, s := range w.steps {
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

// names are those of one object: a few in a list, many by a map.
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
