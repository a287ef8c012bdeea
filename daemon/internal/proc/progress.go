package proc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/jsontext"
)

const (
	maxLine     = 64<<10 + 64            // a result of 64 KiB and what is around it
	maxResult   = 64 << 10               // SPEC section 4
	maxFailure  = 16 << 10               // of why it failed
	resultDepth = 100                    // as of arguments
	updateGap   = 200 * time.Millisecond // five a second
)

// report collects what a child says of itself, and tells the newest of it at
// most five times a second. It is part of a Child, and waits for nothing either.
type report struct {
	line    []byte // of descriptor 3, not yet ended
	skip    bool   // the rest of an overlong line
	current Update
	pending bool      // current is newer than what was told
	toldAt  time.Time // when it was told last
	closed  bool      // the last word is all that is still told
	result  json.RawMessage
	failure json.RawMessage
}

// feed splits what came into lines; one longer than any real one is passed over.
func (r *report) feed(b []byte) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		part := b
		if i >= 0 {
			part = b[:i]
		}
		if !r.skip {
			if len(r.line)+len(part) > maxLine {
				r.skip, r.line = true, nil
			} else {
				r.line = append(r.line, part...)
			}
		}
		if i < 0 {
			return
		}
		if !r.skip {
			r.parse()
		}
		r.line, r.skip = r.line[:0], false
		b = b[i+1:]
	}
}

// parse takes the line that was collected.
func (r *report) parse() {
	if u, ok := ParseLine(r.line); ok {
		r.merge(u)
	}
}

// close takes a last line that has no end. After it nothing is held back.
func (r *report) close() {
	if len(r.line) > 0 && !r.skip {
		r.parse()
	}
	r.line, r.closed = nil, true
}

// merge keeps the newest of each field.
func (r *report) merge(u Update) {
	if u.Result != nil {
		r.result = u.Result
	}
	if u.Failure != nil {
		r.failure = u.Failure
	}
	if u.Percent != nil {
		r.current.Percent = u.Percent
	}
	if u.Message != "" {
		r.current.Message = u.Message
	}
	if !u.Deadline.IsZero() {
		r.current.Deadline = u.Deadline
	}
	r.pending = r.pending || u.Percent != nil || u.Message != "" || !u.Deadline.IsZero()
}

// due is when something may be told, zero = there is nothing to tell.
func (r *report) due() time.Time {
	if !r.pending {
		return time.Time{}
	}
	return r.toldAt.Add(updateGap)
}

// take gives what may be told now, once.
func (r *report) take(now time.Time) (Update, bool) {
	if !r.pending || !r.closed && now.Before(r.due()) {
		return Update{}, false
	}
	r.pending, r.toldAt = false, now
	return r.current, true
}

// Progress is what an update says, in the wire's form; nil = nothing was said.
func (u Update) Progress() *ipc.Progress {
	if u.Percent == nil && u.Message == "" {
		return nil
	}
	return &ipc.Progress{Percent: u.Percent, Message: u.Message}
}

// ParseLine reads one progress line: `42 text`, `42% text`, a JSON object with
// percent and message, result or error, or an APT status line. False for any other.
func ParseLine(line []byte) (Update, bool) {
	text := strings.TrimSpace(strings.ToValidUTF8(string(line), "�"))
	switch {
	case text == "":
		return Update{}, false
	case text[0] == '{':
		return parseJSON(line)
	case strings.HasPrefix(text, "pmstatus:"), strings.HasPrefix(text, "dlstatus:"):
		f := strings.SplitN(text, ":", 4)
		if len(f) < 4 {
			return Update{}, false
		}
		return percentOf(f[2], f[3])
	}
	number, rest, _ := strings.Cut(text, " ")
	return percentOf(strings.TrimSuffix(number, "%"), strings.TrimSpace(rest))
}

// percentOf makes an update of a number between 0 and 100 and a message.
func percentOf(number, message string) (Update, bool) {
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n >= 0 && n <= 100) {
		return Update{}, false
	}
	return Update{Percent: &n, Message: clip(message)}, true
}

// parseJSON reads a progress or result object; other names are ignored.
func parseJSON(line []byte) (Update, bool) {
	// A reason of failure in another character set is still one to be told. A result
	// is data, which is not changed.
	text := bytes.ToValidUTF8(line, []byte("\ufffd"))
	var o struct {
		Percent *float64        `json:"percent"`
		Message string          `json:"message"`
		Result  json.RawMessage `json:"result"`
		Error   json.RawMessage `json:"error"`
	}
	if json.Unmarshal(text, &o) != nil {
		return Update{}, false
	}
	u := Update{Message: clip(o.Message)}
	if o.Percent != nil && *o.Percent >= 0 && *o.Percent <= 100 {
		u.Percent = o.Percent
	}
	u.Failure = bounded(o.Error, maxFailure)
	if len(o.Result) > 0 {
		if u.Result = bounded(o.Result, maxResult); u.Result == nil {
			u.Message = fmt.Sprintf("its result was dropped: longer than %d bytes", maxResult)
		} else if err := jsontext.Check(line, resultDepth); err != nil {
			u.Result, u.Message = nil, "its result was dropped: its line: "+err.Error()
		}
	}
	return u, u.Percent != nil || u.Message != "" || u.Result != nil || u.Failure != nil
}

// bounded is a value without its white space; nil when there is none, or one
// that is too long.
func bounded(raw json.RawMessage, most int) json.RawMessage {
	var compact bytes.Buffer
	if len(raw) == 0 || len(raw) > most || json.Compact(&compact, raw) != nil {
		return nil
	}
	return compact.Bytes()
}

// clip bounds a message.
func clip(s string) string {
	if len(s) > 1024 {
		return strings.ToValidUTF8(s[:1024], "") + "…"
	}
	return s
}
