package proc

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

const (
	maxLine    = 64<<10 + 64            // a result of 64 KiB and what is around it
	maxResult  = 64 << 10               // SPEC section 4
	maxFailure = 16 << 10               // of why it failed
	updateGap  = 200 * time.Millisecond // five a second
)

// reporter collects what a child says of itself.
type reporter struct {
	onUpdate func(Update)
	extend   chan<- time.Duration
	piped    chan struct{} // closed when readPipe is over

	mu      sync.Mutex
	line    []byte
	skip    bool // the rest of an overlong line
	current Update
	said    bool
	result  json.RawMessage
	failure json.RawMessage
	timer   *time.Timer
	lastAt  time.Time
	over    bool
}

func newReporter(onUpdate func(Update), extend chan<- time.Duration) *reporter {
	return &reporter{onUpdate: onUpdate, extend: extend, piped: make(chan struct{})}
}

// readPipe reads descriptor 3 until its end or until finish closes it.
func (r *reporter) readPipe(f *os.File) {
	defer close(r.piped)
	buf := make([]byte, 1024) // one for each job: most say little
	for {
		n, err := f.Read(buf)
		r.feed(buf[:n])
		if err != nil {
			return
		}
	}
}

// finish takes what is still in the pipe, without waiting for its end, and
// gives out the last word.
func (r *reporter) finish(f *os.File) {
	select {
	case <-r.piped: // it has seen the end: nothing is left
	default:
		// A reader that waits holds the file's read lock: end its wait first.
		_ = f.SetReadDeadline(time.Now())
		<-r.piped
		_ = f.SetReadDeadline(time.Time{})
		r.drain(f)
	}
	r.mu.Lock()
	if len(r.line) > 0 && !r.skip {
		r.parse(r.line)
	}
	r.line, r.over = nil, true
	if r.timer != nil {
		r.timer.Stop()
	}
	last, said := r.current, r.said
	r.said = false
	r.mu.Unlock()
	if said {
		r.onUpdate(last)
	}
}

// drain reads what is in the pipe now.
func (r *reporter) drain(f *os.File) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 4096)
	_ = conn.Read(func(fd uintptr) bool {
		for {
			n, err := unix.Read(int(fd), buf)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if n <= 0 {
				return true
			}
			r.feed(buf[:n])
		}
	})
}

// feed splits what came into lines; one longer than any real one is passed over.
func (r *reporter) feed(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
			r.parse(r.line)
		}
		r.line, r.skip = r.line[:0], false
		b = b[i+1:]
	}
}

// parse takes one line.
func (r *reporter) parse(line []byte) {
	u, ok := ParseLine(line)
	if !ok {
		return
	}
	r.merge(u)
}

// merge keeps the newest of each field and plans to tell. The caller holds mu.
func (r *reporter) merge(u Update) {
	if u.Result != nil {
		r.result = u.Result
	}
	if u.Failure != nil {
		r.failure = u.Failure
	}
	if u.ExtendTimeout > 0 {
		select {
		case r.extend <- u.ExtendTimeout:
		default:
		}
	}
	if u.Percent == nil && u.Message == "" {
		return
	}
	if u.Percent != nil {
		r.current.Percent = u.Percent
	}
	if u.Message != "" {
		r.current.Message = u.Message
	}
	if r.said || r.over {
		return // a timer runs that will tell the newest
	}
	r.said = true
	r.timer = time.AfterFunc(max(0, updateGap-time.Since(r.lastAt)), r.tell)
}

// tell gives out the newest word.
func (r *reporter) tell() {
	r.mu.Lock()
	if !r.said || r.over {
		r.mu.Unlock()
		return
	}
	u := r.current
	r.said, r.lastAt = false, time.Now()
	r.mu.Unlock()
	r.onUpdate(u)
}

// last is the result, the failure and the last progress.
func (r *reporter) last() (result, failure json.RawMessage, p *ipc.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.result, r.failure, progressOf(r.current)
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
	var o struct {
		Percent *float64        `json:"percent"`
		Message string          `json:"message"`
		Result  json.RawMessage `json:"result"`
		Error   json.RawMessage `json:"error"`
	}
	if json.Unmarshal(line, &o) != nil {
		return Update{}, false
	}
	u := Update{Message: clip(o.Message)}
	if o.Percent != nil && *o.Percent >= 0 && *o.Percent <= 100 {
		u.Percent = o.Percent
	}
	u.Result, u.Failure = bounded(o.Result, maxResult), bounded(o.Error, maxFailure)
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
