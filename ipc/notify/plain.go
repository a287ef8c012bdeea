package notify

import (
	"bytes"
	"strconv"

	"dispatchd/ipc"
)

// Plain reads of an accepted notify what is said of it in one line: id, state,
// coalesced, position. It does so without encoding/json, whose reflection takes
// an eighth of the tiny client's life. False: the answer is of another sort, and
// is to be read whole.
func Plain(body []byte) (n ipc.Notified, ok bool) {
	s := scan{body}
	if !s.take('{') {
		return n, false
	}
	for {
		name, ok := s.word()
		if !ok || !s.take(':') {
			return n, false
		}
		value, ok := s.value()
		if !ok || !assign(&n, name, value) {
			return n, false
		}
		if s.take('}') {
			break
		}
		if !s.take(',') {
			return n, false
		}
	}
	open := n.State == ipc.Queued || n.State == ipc.Running
	return n, open && n.ID != "" && len(s.space()) == 0
}

// assign puts a member of the answer where it belongs.
func assign(n *ipc.Notified, name string, value []byte) bool {
	text := scan{value}
	var ok bool
	switch name {
	case "id":
		n.ID, ok = text.word()
	case "state":
		var state string
		state, ok = text.word()
		n.State = ipc.State(state)
	case "coalesced":
		n.Coalesced, ok = string(value) == "true", true
	case "position":
		var err error
		n.Position, err = strconv.Atoi(string(value))
		ok = err == nil
	default:
		return true
	}
	return ok
}

// scan is what is left of a JSON text.
type scan struct{ rest []byte }

// space passes over white space and gives what follows.
func (s *scan) space() []byte {
	s.rest = bytes.TrimLeft(s.rest, " \t\r\n")
	return s.rest
}

// take passes over one character, if it is the next.
func (s *scan) take(c byte) bool {
	if b := s.space(); len(b) == 0 || b[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// word takes a string without escapes.
func (s *scan) word() (string, bool) {
	if !s.take('"') {
		return "", false
	}
	i := bytes.IndexByte(s.rest, '"')
	if i < 0 || bytes.IndexByte(s.rest[:i], '\\') >= 0 {
		return "", false
	}
	text := string(s.rest[:i])
	s.rest = s.rest[i+1:]
	return text, true
}

// value passes over any value and gives its text. What is in it is not looked
// at: the daemon does not send what is not JSON.
func (s *scan) value() ([]byte, bool) {
	start := s.space()
	depth := 0
	for len(s.rest) > 0 {
		switch c := s.rest[0]; {
		case c == '"':
			if !s.skipString() {
				return nil, false
			}
			if depth == 0 {
				return start[:len(start)-len(s.rest)], true
			}
			continue
		case c == '{' || c == '[':
			depth++
		case depth == 0 && (c == ',' || c == '}' || c == ']' || c <= ' '):
			n := len(start) - len(s.rest)
			return start[:n], n > 0
		case c == '}' || c == ']':
			depth--
			if depth == 0 {
				s.rest = s.rest[1:]
				return start[:len(start)-len(s.rest)], true
			}
		}
		s.rest = s.rest[1:]
	}
	return nil, false
}

// skipString passes over a string.
func (s *scan) skipString() bool {
	for i := 1; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '\\':
			i++
		case '"':
			s.rest = s.rest[i+1:]
			return true
		}
	}
	return false
}
