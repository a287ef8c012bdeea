package server

import (
	"bytes"
	"strconv"
	"strings"
)

// framing follows the requests of a connection byte by byte, so that it finds what
// net/http takes and RFC 9112 does not: lines that end with a bare LF (section 2.2),
// folded lines (obs-fold, section 5.2) and a bare CR. A server that reads a header
// otherwise than a proxy before it can be made to see another request.
type framing struct {
	phase phase
	line  []byte // of the header, as far as it has come
	first bool   // the line is the request's first
	left  int64  // of the body
	sized bool   // the header has a Content-Length
	coded bool   // and a Transfer-Encoding
}

// phase is what of a request comes next.
type phase uint8

const (
	head   phase = iota // its header
	body                // left bytes of its body
	opaque              // its end is net/http's to find, and the connection's end
)

// maxLine bounds what is kept of a line of the header. net/http refuses a header
// that is longer than all lines may be.
const maxLine = maxHeader + 4096

// take follows bytes that were read. It reports what is wrong with them, "" = nothing,
// and whether a header came to its end.
func (f *framing) take(b []byte) (wrong string, ended bool) {
	for len(b) > 0 {
		switch f.phase {
		case opaque:
			return "", ended
		case body:
			n := min(f.left, int64(len(b)))
			b, f.left = b[n:], f.left-n
			if f.left == 0 {
				*f = framing{first: true, line: f.line[:0]}
			}
		case head:
			end := bytes.IndexByte(b, '\n')
			if end < 0 {
				f.line = append(f.line, b[:min(len(b), maxLine-min(len(f.line), maxLine))]...)
				return bareCR(f.line), ended
			}
			f.line = append(f.line, b[:end]...)
			b = b[end+1:]
			last, wrong := f.endLine()
			if wrong != "" {
				return wrong, ended
			}
			ended = ended || last
		}
	}
	return "", ended
}

// bareCR finds a CR before the end of a line.
func bareCR(line []byte) string {
	if i := bytes.IndexByte(line, '\r'); i >= 0 && i < len(line)-1 {
		return "a line has a CR that is not its end (RFC 9112 section 2.2)"
	}
	return ""
}

// endLine judges a whole line, without its LF, and notes what it says of the body.
// last = it is the header's last.
func (f *framing) endLine() (last bool, wrong string) {
	text, ok := bytes.CutSuffix(f.line, []byte("\r"))
	if !ok {
		return false, "a line ends with a bare LF instead of CRLF (RFC 9112 section 2.2)"
	}
	if wrong := bareCR(f.line); wrong != "" {
		return false, wrong
	}
	first := f.first
	f.first, f.line = false, f.line[:0]
	switch {
	case len(text) == 0:
		f.beginBody()
		return true, ""
	case first:
		return false, ""
	case text[0] == ' ' || text[0] == '\t':
		return false, "a line of the header is folded (obs-fold, RFC 9112 section 5.2)"
	}
	name, value, _ := strings.Cut(string(text), ":")
	switch {
	case strings.EqualFold(name, "Transfer-Encoding"):
		f.coded = true
	case strings.EqualFold(name, "Content-Length"):
		n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 62)
		if f.sized = true; err == nil {
			f.left = int64(n)
		}
	}
	return false, ""
}

// beginBody goes on behind the header. Behind a chunked body nothing is served any
// more (guard), so its end need not be found.
func (f *framing) beginBody() {
	switch {
	case f.coded:
		f.phase = opaque
	case f.left > 0:
		f.phase = body
	default:
		*f = framing{first: true, line: f.line[:0]}
	}
}

// whole reports whether no request is under way: the last byte was the end of one.
func (f *framing) whole() bool { return f.phase == head && f.first && len(f.line) == 0 }
