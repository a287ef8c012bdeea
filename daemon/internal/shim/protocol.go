package shim

import (
	"encoding/json"
	"strconv"
	"time"

	"dispatchd/daemon/internal/proc"
	"dispatchd/ipc"
)

// Version is the version of the protocol. 1 was a FIFO of hints, SIGTERM for stop
// and SIGUSR1 for "say it again".
const Version = 2

// Verb is what a peer wants of a supervisor.
type Verb string

// The verbs.
const (
	Hello  Verb = "hello"  // agrees on the highest version that both speak
	Query  Verb = "status" // asks for the status
	Signal Verb = "signal" // sends a signal to the processes that kill_mode names
	Extend Verb = "extend" // gives the job that much time from now
	Stop   Verb = "stop"   // ends the job as its kill_mode says
	Attach Verb = "attach" // has what the job says sent to this peer, unasked
	Next   Verb = "next"   // gives a supervisor whose job has ended another one
)

// Request is one line of a peer.
type Request struct {
	ID     uint32        `json:"id"` // of the peer's choice, not 0
	Verb   Verb          `json:"verb"`
	Min    int           `json:"min,omitempty"` // hello: the versions that the peer speaks
	Max    int           `json:"max,omitempty"`
	Signal int           `json:"signal,omitempty"`
	Extend time.Duration `json:"extend,omitempty"` // in nanoseconds
}

// Reply is one line of a supervisor. An Error says why a request was not done.
type Reply struct {
	ID      uint32  `json:"id"`                // of the request; 0 = unasked
	Version int     `json:"version,omitempty"` // hello: the one to speak
	Error   string  `json:"error,omitempty"`
	PutOff  bool    `json:"put_off,omitempty"` // the error is not the job's, which may be started later
	Status  *Status `json:"status,omitempty"`
}

// Phase is how far an attempt is.
type Phase string

// The phases.
const (
	Running Phase = "running" // it has been started
	Ended   Phase = "ended"   // .status, or Status.Outcome, says how, and the locks are free
	Refused Phase = "refused" // nothing was started, and Reply.Error says why
)

// Status is what a supervisor knows of its attempt.
type Status struct {
	Phase    Phase          `json:"phase"`
	Child    *proc.Identity `json:"child,omitempty"`
	Progress *ipc.Progress  `json:"progress,omitempty"`
	Left     time.Duration  `json:"left,omitempty"` // of the timeout, 0 = none
	Late     bool           `json:"late,omitempty"` // the timeout is over, and kill_mode none lets the job run

	Tree      string          `json:"tree,omitempty"`       // proc.Child.TreePath
	NeverKill bool            `json:"never_kill,omitempty"` // kill_mode none
	Outcome   json.RawMessage `json:"outcome,omitempty"`    // what .status would say, where that cannot be written
}

// maxRequest bounds a line of a peer. What is longer is passed over.
const maxRequest = 4096

// appendReply appends the line of a reply. It is what encoding/json makes, by hand:
// first use of that costs a supervisor 0.26 of an empty Go program and 120 KiB.
func appendReply(b []byte, r Reply) []byte {
	b = append(b, `{"id":`...)
	b = strconv.AppendUint(b, uint64(r.ID), 10)
	if r.Version != 0 {
		b = append(b, `,"version":`...)
		b = strconv.AppendInt(b, int64(r.Version), 10)
	}
	if r.Error != "" {
		b = append(b, `,"error":`...)
		b = proc.AppendQuoted(b, r.Error)
	}
	if r.PutOff {
		b = append(b, `,"put_off":true`...)
	}
	if r.Status != nil {
		b = append(b, `,"status":`...)
		b = appendStatus(b, r.Status)
	}
	return append(b, '}', '\n')
}

// appendStatus appends a status.
func appendStatus(b []byte, s *Status) []byte {
	b = append(b, `{"phase":`...)
	b = proc.AppendQuoted(b, string(s.Phase))
	if s.Child != nil {
		b = append(b, `,"child":`...)
		b = s.Child.AppendJSON(b)
	}
	if s.Progress != nil {
		b = append(b, `,"progress":`...)
		b = appendProgress(b, s.Progress)
	}
	if s.Left != 0 {
		b = append(b, `,"left":`...)
		b = strconv.AppendInt(b, int64(s.Left), 10)
	}
	if s.Late {
		b = append(b, `,"late":true`...)
	}
	if s.Tree != "" {
		b = append(b, `,"tree":`...)
		b = proc.AppendQuoted(b, s.Tree)
	}
	if s.NeverKill {
		b = append(b, `,"never_kill":true`...)
	}
	if len(s.Outcome) > 0 {
		b = append(append(b, `,"outcome":`...), s.Outcome...)
	}
	return append(b, '}')
}

// appendProgress appends a progress.
func appendProgress(b []byte, p *ipc.Progress) []byte {
	open := byte('{')
	if p.Percent != nil {
		b = append(b, `{"percent":`...)
		b = strconv.AppendFloat(b, *p.Percent, 'f', -1, 64)
		open = ','
	}
	if p.Message != "" {
		b = append(b, open)
		b = append(b, `"message":`...)
		b = proc.AppendQuoted(b, p.Message)
		open = ','
	}
	if open == '{' {
		b = append(b, '{')
	}
	return append(b, '}')
}

// parseRequest reads a line of a peer. The plain form that our own client writes is
// read by hand, for the reason that appendReply has; any other by encoding/json.
func parseRequest(line []byte) (Request, error) {
	if r, ok := parsePlain(line); ok {
		return r, nil
	}
	var r Request
	err := json.Unmarshal(line, &r)
	return r, err
}

// parsePlain reads an object of known names, whole numbers and plain words, without
// white space. False: it is something else, which may be as good.
func parsePlain(line []byte) (r Request, ok bool) {
	if len(line) < 2 || line[0] != '{' || line[len(line)-1] != '}' {
		return r, false
	}
	rest := line[1 : len(line)-1]
	for {
		name, after, ok := cutWord(rest)
		if !ok || len(after) == 0 || after[0] != ':' {
			return Request{}, false
		}
		if after, ok = r.setPlain(name, after[1:]); !ok {
			return Request{}, false
		}
		if len(after) == 0 {
			return r, true
		}
		if after[0] != ',' {
			return Request{}, false
		}
		rest = after[1:]
	}
}

// setPlain sets one field to the value at the beginning of text.
func (r *Request) setPlain(name string, text []byte) (after []byte, ok bool) {
	if name == "verb" {
		word, after, ok := cutWord(text)
		r.Verb = Verb(word)
		return after, ok
	}
	n, after, ok := cutNumber(text)
	if !ok {
		return nil, false
	}
	switch name {
	case "id":
		r.ID = uint32(n)
		return after, n>>32 == 0
	case "min":
		r.Min = int(n)
	case "max":
		r.Max = int(n)
	case "signal":
		r.Signal = int(n)
	case "extend":
		r.Extend = time.Duration(n)
	default:
		return nil, false
	}
	return after, true
}

// cutWord cuts a quoted word of small letters and underscores off.
func cutWord(text []byte) (word string, after []byte, ok bool) {
	if len(text) == 0 || text[0] != '"' {
		return "", nil, false
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return string(text[1:i]), text[i+1:], true
		case c != '_' && (c < 'a' || c > 'z'):
			return "", nil, false
		}
	}
	return "", nil, false
}

// cutNumber cuts a whole number off that is not negative, and has no leading zero
// and at most 15 digits, which fit any field but id.
func cutNumber(text []byte) (n int64, after []byte, ok bool) {
	i := 0
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		n = 10*n + int64(text[i]-'0')
		if i++; i > 15 {
			return 0, nil, false
		}
	}
	if i == 0 || i > 1 && text[0] == '0' {
		return 0, nil, false
	}
	return n, text[i:], true
}
