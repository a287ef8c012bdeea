package ipc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// Words is the line that the commands print for an accepted notify.
func (n Notified) Words() string {
	switch {
	case n.State.Final():
		return n.Job.Words()
	case n.Coalesced:
		return fmt.Sprintf("joined %s (already queued)", n.ID)
	case n.Started:
		return "started " + n.ID
	case n.State == Running: // an idempotency key that was known
		return fmt.Sprintf("queued %s (it runs already)", n.ID)
	case n.State == Queued && n.WaitingFor == nil && n.Position <= 1: // nothing is in its way
		return "started " + n.ID
	}
	return fmt.Sprintf("queued %s (%s)", n.ID, ordinal(n.Position))
}

// Words is the line that the commands print for a job: its state and its error.
func (j Job) Words() string {
	text := fmt.Sprintf("%s %s", j.State, j.ID)
	if j.Error != nil {
		text += ": " + j.Error.Message
	}
	return text
}

// Counted is a number of things whose plural is regular: "1 job", "2 jobs".
func Counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// ordinal is a position in line in words.
func ordinal(n int) string {
	suffix := "th"
	switch {
	case n <= 1:
		return "next in line"
	case n%100 >= 11 && n%100 <= 13:
	case n%10 == 1:
		suffix = "st"
	case n%10 == 2:
		suffix = "nd"
	case n%10 == 3:
		suffix = "rd"
	}
	return fmt.Sprintf("%d%s in line", n, suffix)
}

// Lines is an error as the commands print it: what and why, then what to do
// next, a line each.
func (e *Error) Lines() []string {
	lines := []string{e.Error()}
	next := e.Suggestion
	if next == "" && e.RetryAfter == 0 {
		next = e.Kind.Next()
	}
	if next != "" {
		lines = append(lines, next)
	}
	if e.RetryAfter > 0 {
		lines = append(lines, fmt.Sprintf("try again in %d s", e.RetryAfter))
	}
	return lines
}

// Next is the advice of a kind, for an error without a suggestion of its own.
func (k Kind) Next() string {
	switch k {
	case KindDispatcherUnknown:
		return "dispatchctl list shows all dispatchers"
	case KindJobUnknown:
		return "dispatchctl jobs shows the jobs"
	case KindArgumentsInvalid, KindBadRequest:
		return "correct the arguments; dispatchctl show NAME says what a dispatcher is for"
	case KindBodyTooLarge:
		return "put large data into a file, and give its name as an argument"
	case KindForbidden:
		return "ask as root, or as a member of the socket's group"
	case KindIdempotencyConflict:
		return "use a new key for a new request"
	case KindLocked:
		return "dispatchctl locks shows who holds what; try again later"
	case KindConfiguration, KindDispatcherDisabled:
		return "dispatchctl check says all that is wrong, with file and row"
	case KindInternal:
		return "the daemon's log may say more; dispatchctl doctor looks for what is wrong"
	}
	return ""
}

// Unreachable is the error of a client that could not connect to the socket.
func Unreachable(socket string, cause error) *Error {
	next := "start dispatchd, or name its socket by --socket or $" + SocketEnv
	switch {
	case errors.Is(cause, fs.ErrPermission):
		p := Errorf(KindForbidden, "socket %s: permission denied", socket)
		p.Suggestion = "ask as root, or join the group that owns the socket (ls -l says which)"
		return p
	case errors.Is(cause, fs.ErrNotExist):
		p := Errorf(KindUnavailable, "no daemon answers: there is no socket %s", socket)
		p.Suggestion = next
		return p
	case errors.Is(cause, syscall.ECONNREFUSED) && !isSocket(socket):
		p := Errorf(KindUnavailable, "no daemon answers: %s is no socket", socket)
		p.Suggestion = "name the daemon's socket by --socket or $" + SocketEnv
		return p
	case errors.Is(cause, syscall.ECONNREFUSED):
		p := Errorf(KindUnavailable, "no daemon answers: nobody listens on socket %s (a daemon that died left it)", socket)
		p.Suggestion = next
		return p
	case errors.Is(cause, syscall.ENOTSOCK), errors.Is(cause, syscall.ENOTDIR):
		p := Errorf(KindUnavailable, "no daemon answers: %s is no socket", socket)
		p.Suggestion = "name the daemon's socket by --socket or $" + SocketEnv
		return p
	}
	p := Errorf(KindUnavailable, "no daemon answers on %s: %v", socket, cause)
	p.Suggestion = next
	return p
}

// isSocket reports whether there is a socket. Connecting to a plain file or a
// directory is refused as if nobody listened.
func isSocket(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().Type() == fs.ModeSocket
}

// Lost is the error of a client whose connection broke before the answer came.
// Where the request changes something, the daemon may have done it.
func Lost(socket string, changes bool, cause error) *Error {
	// Package net/http has no type for this, and ipc/notify does not know http's.
	if text := cause.Error(); strings.Contains(text, "malformed HTTP") || strings.Contains(text, "not an HTTP answer") {
		p := Errorf(KindUnavailable, "no daemon answers on %s: another program does (%v)", socket, cause)
		p.Suggestion = "name the daemon's socket by --socket or $" + SocketEnv
		return p
	}
	p := Errorf(KindUnavailable, "the connection to the daemon on %s broke before the answer came: %v", socket, cause)
	p.Suggestion = "ask again"
	if changes {
		p.Suggestion = notKnown
	}
	return p
}

// NoAnswer is the error of a client that has waited for an answer this long; what
// says what the daemon does meanwhile.
func NoAnswer(socket, what string, waited time.Duration, changes bool) *Error {
	p := Errorf(KindNoAnswer, "the daemon on %s has not answered within %s: %s", socket, waited, what)
	p.Suggestion = "restart it if it does not go on by itself; jobs that run are kept"
	if changes {
		p.Suggestion = notKnown
	}
	return p
}

// notKnown is what to do about a request that may have been done.
const notKnown = "it is not known whether it was accepted: ask again, with the same --key nothing runs twice"

// WaitOver is the error of a client whose wait for a job ran out.
func WaitOver(job Job, waited time.Duration) *Error {
	p := Errorf(KindTimeout, "job %s has not ended after %s: it is %s, and goes on", job.ID, waited, job.State)
	p.Job, p.Dispatcher = job.ID, job.Dispatcher
	p.Suggestion = "dispatchctl why " + job.ID + " says what it does; dispatchctl wait " + job.ID + " waits for it again"
	return p
}

// MaxArguments is how many bytes the arguments of a notify may have.
const MaxArguments = 1 << 20

// ReadArguments gives the arguments that a word of a command line stands for:
// JSON, or "-" for standard input. It refuses what is not one JSON value before
// anything is sent.
func ReadArguments(word string, stdin io.Reader) (json.RawMessage, error) {
	raw := []byte(word)
	if word == "-" {
		var err error
		if raw, err = io.ReadAll(io.LimitReader(stdin, MaxArguments+1)); err != nil {
			return nil, fmt.Errorf("arguments on standard input: %w", err)
		}
	}
	if len(raw) > MaxArguments {
		return nil, Errorf(KindBodyTooLarge, "the arguments have more than %d bytes", MaxArguments)
	}
	var value json.RawMessage
	if err := json.Unmarshal(raw, &value); err != nil {
		p := Errorf(KindArgumentsInvalid, "the arguments are not JSON: %s", notJSON(raw, err))
		p.Suggestion = `give one JSON value, such as '{"name":"value"}' or '"text"'; - reads it from standard input`
		return nil, p
	}
	return raw, nil
}

// notJSON says where a text is no JSON. The words of package encoding/json are about
// its own states.
func notJSON(raw []byte, err error) string {
	s, ok := errors.AsType[*json.SyntaxError](err)
	switch {
	case len(bytes.TrimSpace(raw)) == 0:
		return "they are empty"
	case !ok:
		return err.Error()
	case int(s.Offset) >= len(raw) && strings.Contains(s.Error(), "end of JSON"):
		return "they end in the middle of a value"
	}
	at := min(max(int(s.Offset)-1, 0), len(raw)-1)
	r, _ := utf8.DecodeRune(raw[at:])
	return fmt.Sprintf("character %d, %q, does not belong there", utf8.RuneCount(raw[:at])+1, r)
}
