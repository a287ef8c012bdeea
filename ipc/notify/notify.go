// Package notify posts one notify over the socket, and waits for a job's end,
// by hand-written HTTP/1.1. It exists for the tiny client, where net/http costs
// a millisecond and 3 MiB at each start, even unused. It imports the standard
// library only; the tests hold it against ipc/server.
package notify

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"dispatchd/ipc"
)

// Request is one notify.
type Request struct {
	Name      string
	Arguments []byte // a JSON value, nil = none
	Key       string // idempotency key, "" = none
}

// Reply is the daemon's answer, whatever its status.
type Reply struct {
	Status     int
	RetryAfter int    // seconds, 0 = not said
	API        string // ipc.APIHeader
	Body       []byte
}

// maxReply bounds what is read of an answer: a job with 1 MiB of arguments.
const maxReply = 4 << 20

// Post sends the request over a connection and reads the answer.
func Post(c io.ReadWriter, r Request) (Reply, error) {
	if strings.ContainsAny(r.Key, "\r\n") {
		return Reply{}, errors.New("idempotency key: a line break is not allowed")
	}
	return exchange(c, encode(r))
}

// Await asks for a job over a fresh connection and reads the answer, which comes
// when the job has ended, after this time, or when the daemon goes down.
func Await(c io.ReadWriter, id string, wait time.Duration) (Reply, error) {
	path := "/v1/jobs/" + escape(id) + "?wait=" + wait.String()
	return exchange(c, []byte("GET "+path+" HTTP/1.1\r\nHost: dispatchd\r\nConnection: close\r\n\r\n"))
}

// exchange writes a request and reads its answer.
func exchange(c io.ReadWriter, request []byte) (Reply, error) {
	_, broken := c.Write(request)
	// A daemon that refuses a request may answer before it has read all of it.
	r, err := readReply(bufio.NewReader(c))
	if err != nil && broken != nil {
		err = broken
	}
	return r, err
}

// encode writes a notify.
func encode(r Request) []byte {
	size := 0
	if len(r.Arguments) > 0 {
		size = len(before) + len(r.Arguments) + len(after)
	}
	b := make([]byte, 0, 256+len(r.Name)+len(r.Key)+size)
	b = append(b, "POST /v1/dispatchers/"+escape(r.Name)+"/notify HTTP/1.1\r\nHost: dispatchd\r\nConnection: close\r\n"...)
	b = append(b, "Content-Type: application/json\r\nContent-Length: "...)
	b = append(strconv.AppendInt(b, int64(size), 10), "\r\n"...)
	if r.Key != "" {
		b = append(b, "Idempotency-Key: "+r.Key+"\r\n"...)
	}
	b = append(b, "\r\n"...)
	if size > 0 {
		b = append(append(append(b, before...), r.Arguments...), after...)
	}
	return b
}

// before and after surround the arguments in a notify's body.
const before, after = `{"arguments":`, `}`

// escape percent-encodes a name as one segment of a path.
func escape(name string) string {
	const hex = "0123456789ABCDEF"
	var b []byte
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// maxHeader bounds the lines of an answer's header.
const maxHeader = 100

// readReply reads an answer with a length, in chunks, or up to the end.
func readReply(br *bufio.Reader) (r Reply, err error) {
	text, err := readLine(br)
	if err != nil {
		return r, fmt.Errorf("no answer: %w", err)
	}
	if r.Status, err = parseStatus(text); err != nil {
		return r, err
	}
	length, chunked := "", false
	for n := 0; ; n++ {
		text, err := readLine(br)
		if err != nil || n > maxHeader {
			return r, fmt.Errorf("answer's header: %w", cmp.Or(err, errLong))
		}
		if text == "" {
			break
		}
		name, value, _ := strings.Cut(text, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, ipc.APIHeader):
			r.API = value
		case strings.EqualFold(name, "Retry-After"):
			n, _ := strconv.ParseUint(value, 10, 31)
			r.RetryAfter = int(n)
		case strings.EqualFold(name, "Content-Length"):
			length = value
		case strings.EqualFold(name, "Transfer-Encoding"):
			chunked = strings.EqualFold(value, "chunked")
		}
	}
	r.Body, err = readBody(br, length, chunked)
	return r, err
}

// parseStatus takes the code out of an answer's first line.
func parseStatus(text string) (int, error) {
	version, rest, _ := strings.Cut(text, " ")
	code, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(code, 10, 16)
	if err != nil || len(code) != 3 || n < 200 || !strings.HasPrefix(version, "HTTP/1.") {
		return 0, fmt.Errorf("not an HTTP answer: %.60q", text)
	}
	return int(n), nil
}

// readBody reads the body of an answer.
func readBody(br *bufio.Reader, length string, chunked bool) ([]byte, error) {
	switch {
	case chunked:
		return readChunks(br)
	case length == "":
		return io.ReadAll(io.LimitReader(br, maxReply))
	}
	n, err := strconv.ParseInt(length, 10, 64)
	if err != nil || n < 0 || n > maxReply {
		return nil, fmt.Errorf("answer's length: %.20q", length)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(br, b)
	return b, err
}

// errLong refuses a header that is longer than any daemon's.
var errLong = errors.New("too long")

// readLine reads a line without its end.
func readLine(br *bufio.Reader) (string, error) {
	b, err := br.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// readChunks reads a chunked body.
func readChunks(br *bufio.Reader) ([]byte, error) {
	var body []byte
	for {
		text, err := readLine(br)
		if err != nil {
			return body, err
		}
		size, _, _ := strings.Cut(text, ";")
		n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 31)
		if err != nil || n > maxReply || len(body)+int(n) > maxReply {
			return body, fmt.Errorf("answer's chunk: %.20q", text)
		}
		if n == 0 {
			return body, nil
		}
		at := len(body)
		body = append(body, make([]byte, n)...)
		if _, err := io.ReadFull(br, body[at:]); err != nil {
			return body, err
		}
		if end, err := readLine(br); err != nil || end != "" {
			return body, fmt.Errorf("answer's chunk: %w", cmp.Or(err, errLong))
		}
	}
}
