package proc

import (
	"encoding/json"
	"strconv"
)

// What a supervisor writes for every job is written by hand, as encoding/json would:
// first use of that costs it 0.26 of the processor time of an empty Go program, and
// 120 KiB. What is not plain still goes there.

// AppendQuoted appends a JSON string.
func AppendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // a string always can be
			return append(b, text...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// AppendJSON appends the identity as JSON.
func (i Identity) AppendJSON(b []byte) []byte {
	b = append(b, `{"pid":`...)
	b = strconv.AppendInt(b, int64(i.PID), 10)
	b = append(b, `,"start":`...)
	b = strconv.AppendUint(b, i.Start, 10)
	b = append(b, `,"boot":`...)
	b = AppendQuoted(b, i.Boot)
	return append(b, '}')
}

// appendJSON appends the record as JSON.
func (r StartRecord) appendJSON(b []byte) []byte {
	b = append(b, '{')
	open := len(b)
	name := func(text string) {
		if len(b) > open {
			b = append(b, ',')
		}
		b = append(b, text...)
	}
	if r.Supervisor != nil {
		name(`"shim":`)
		b = r.Supervisor.AppendJSON(b)
	}
	if r.Child != nil {
		name(`"child":`)
		b = r.Child.AppendJSON(b)
	}
	if r.Tree != "" {
		name(`"crowd":`)
		b = AppendQuoted(b, r.Tree)
	}
	if r.NeverKill {
		name(`"spare":true`)
	}
	if r.At != 0 {
		name(`"at":`)
		b = strconv.AppendUint(b, r.At, 10)
	}
	return append(b, '}')
}
