package store

import (
	"bytes"
	"errors"
	"io"
)

const (
	chunk   = 1 << 20  // read at once: so much is shared out to the processors
	maxLine = 16 << 20 // more than the longest record; what is longer is damage

	readTries = 3 // of a page, before it is given up
)

// pagedReader reads a file to its end. A page that the disk does not give back
// counts as damage of what was in it, not of the whole file.
type pagedReader struct {
	r        io.ReaderAt
	size, at int64
}

// Read is io.Reader's.
func (p *pagedReader) Read(b []byte) (int, error) {
	b = b[:min(int64(len(b)), p.left())]
	if len(b) == 0 {
		return 0, io.EOF
	}
	n, err := 0, error(nil)
	for range readTries {
		if n, err = p.r.ReadAt(b, p.at); n > 0 || errors.Is(err, io.EOF) {
			break
		}
	}
	if n == 0 && !errors.Is(err, io.EOF) {
		n = int(min(int64(len(b)), page-p.at%page))
		for i := range b[:n] {
			b[i] = '?'
		}
	}
	p.at += int64(n)
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// left is how much of the file was not read yet.
func (p *pagedReader) left() int64 { return max(0, p.size-p.at) }

// segment is a line without its newline, or a run of zeros.
type segment struct {
	at, end int64
	text    []byte // nil = zeros
	whole   bool   // the newline was there
}

// numberMark is what each line has behind its checksum, and no line elsewhere: a
// quote within JSON text is escaped, and no blank is without.
const numberMark = ` {"b":`

// sumLength is the length of a line's checksum.
const sumLength = 8

// begins reports whether the text begins like a line, or like one that has a bad
// byte there.
func (s segment) begins() bool {
	end := sumLength + len(numberMark)
	return len(s.text) > end && differ(string(s.text[sumLength:end]), numberMark) <= 1
}

// split cuts a text at the place where a further line seems to begin.
func (s segment) split() (line, rest segment) {
	own := min(len(s.text), sumLength+1) // its own mark is no further one
	mark := bytes.Index(s.text[own:], []byte(numberMark))
	if mark < 0 {
		return s, segment{}
	}
	at := own + mark - sumLength
	line = segment{at: s.at, end: s.at + int64(at), text: s.text[:at]}
	rest = segment{at: line.end, end: s.end, text: s.text[at:], whole: s.whole}
	return line, rest
}

// scanner cuts a journal into segments. It holds a chunk, or a line that is
// longer.
type scanner struct {
	r      *pagedReader
	buf    []byte
	lo, hi int   // what of buf is not cut yet
	at     int64 // offset of buf[lo]
	eof    bool
}

// batch gives the next segments, those that one read brought; none at the end.
// Their texts are good until the next call.
func (s *scanner) batch() (list []segment) {
	p, more := s.next()
	for more {
		list = append(list, p)
		// A line that is there whole is cut without another read, which would
		// move the texts.
		if s.lo == s.hi || s.buf[s.lo] == 0 || lineEnd(s.buf[s.lo:s.hi]) < 0 {
			break
		}
		p, more = s.next()
	}
	return list
}

// next gives the next segment; its text is good until the next read.
func (s *scanner) next() (segment, bool) {
	if s.lo == s.hi && !s.fill() {
		return segment{}, false
	}
	if s.buf[s.lo] == 0 {
		return s.zeros(), true
	}
	for from := s.lo; ; {
		if n := lineEnd(s.buf[from:s.hi]); n >= 0 {
			return s.cut(from + n), true
		}
		length := s.hi - s.lo
		if length > maxLine || !s.fill() {
			return s.cut(s.hi), true
		}
		from = s.lo + length
	}
}

// lineEnd is where a line ends: at its newline, or where nothing was written.
func lineEnd(b []byte) int {
	n := bytes.IndexByte(b, '\n')
	if n >= 0 {
		b = b[:n]
	}
	if zero := bytes.IndexByte(b, 0); zero >= 0 {
		return zero
	}
	return n
}

// cut takes the line that ends before i.
func (s *scanner) cut(i int) segment {
	p := segment{at: s.at, text: s.buf[s.lo:i], end: s.at + int64(i-s.lo)}
	if i < s.hi && s.buf[i] == '\n' {
		p.whole = true
		p.end++
		i++
	}
	s.lo, s.at = i, p.end
	return p
}

// zeros takes all zeros that follow.
func (s *scanner) zeros() segment {
	p := segment{at: s.at}
	for {
		rest := bytes.TrimLeft(s.buf[s.lo:s.hi], "\x00")
		s.at += int64(s.hi - s.lo - len(rest))
		s.lo = s.hi - len(rest)
		if len(rest) > 0 || !s.fill() {
			p.end = s.at
			return p
		}
	}
}

// fill reads more behind what is there, and takes no more memory than there is to
// read. It reports whether there was more.
func (s *scanner) fill() bool {
	if s.lo > 0 {
		s.hi = copy(s.buf, s.buf[s.lo:s.hi])
		s.lo = 0
	}
	if room := int(min(chunk, s.r.left())); len(s.buf)-s.hi < room {
		s.buf = append(s.buf, make([]byte, max(room, len(s.buf)))...)
	}
	for !s.eof {
		n, err := s.r.Read(s.buf[s.hi:])
		s.hi += n
		s.eof = err != nil
		if n > 0 {
			return true
		}
	}
	return false
}
