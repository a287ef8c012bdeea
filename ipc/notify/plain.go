package notify

import (
	"bytes"
	"strconv"

	"dispatchd/ipc"
)

// Plain reads the members of an accepted notify that its line needs: id, state,
// coalesced, started, position, and whether it waits. It does without encoding/json,
// whose reflection takes an
// eighth of the tiny client's processor time. False: the answer is another one,
// for encoding/json to read.
func Plain(body []byte) (n ipc.Notified, ok bool) {
	s := scanner{body}
	if !s.consume('{') {
		return n, false
	}
	for {
		name, ok := s.stringValue()
		if !ok || !s.consume(':') {
			return n, false
		}
		value, ok := s.value()
		if !ok || !assign(&n, name, value) {
			return n, false
		}
		if s.consume('}') {
			break
		}
		if !s.consume(',') {
			return n, false
		}
	}
	open := n.State == ipc.Queued || n.State == ipc.Running
	return n, open && n.ID != "" && len(s.skipSpace()) == 0
}

// assign sets the field of a member; it ignores members without a field here.
func assign(n *ipc.Notified, name string, value []byte) bool {
	text := scanner{value}
	var ok bool
	switch name {
	case "id":
		n.ID, ok = text.stringValue()
	case "state":
		var state string
		state, ok = text.stringValue()
		n.State = ipc.State(state)
	case "coalesced":
		n.Coalesced, ok = string(value) == "true", true
	case "waiting_for":
		n.WaitingFor, ok = &ipc.WaitingFor{}, true // the line needs to know that there is something
	case "started":
		n.Started, ok = string(value) == "true", true
	case "position":
		var err error
		n.Position, err = strconv.Atoi(string(value))
		ok = err == nil
	default:
		return true
	}
	return ok
}

// scanner reads a JSON text from its beginning; rest is what is left.
type scanner struct{ rest []byte }

// skipSpace skips white space and gives what follows.
func (s *scanner) skipSpace() []byte {
	s.rest = bytes.TrimLeft(s.rest, " \t\r\n")
	return s.rest
}

// consume skips one character, if it is the next after white space.
func (s *scanner) consume(c byte) bool {
	if b := s.skipSpace(); len(b) == 0 || b[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// stringValue reads a string without escapes.
func (s *scanner) stringValue() (string, bool) {
	if !s.consume('"') {
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

// value skips any value and gives its text. It does not check the inside: the
// daemon sends JSON.
func (s *scanner) value() ([]byte, bool) {
	start := s.skipSpace()
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

// skipString skips a string.
func (s *scanner) skipString() bool {
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
