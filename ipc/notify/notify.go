// Package notify posts one notify over the socket, and waits for a job's end,
// by hand-written HTTP/1.1. It exists for the tiny client: net/http costs a
// millisecond and 3 MiB at each start. Standard library only.
package notify

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"net/url"
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

// answerTime bounds the wait for an answer that does not wait for a job.
const answerTime = 60 * time.Second

// maxReply bounds what is read of an answer: a job with 1 MiB of arguments.
const maxReply = 4 << 20

// Dial connects to the socket.
func Dial(socket string) (net.Conn, error) { return net.Dial("unix", socket) }

// Post sends the request over a connection and reads the answer.
func Post(c net.Conn, r Request) (Reply, error) {
	if strings.ContainsAny(r.Key, "\r\n") {
		return Reply{}, errors.New("idempotency key: a line break is not allowed")
	}
	return exchange(c, encode(r), answerTime)
}

// Await asks for a job over a fresh connection and reads the answer, which comes
// when the job has ended, or after this time. 0 = whenever it ends.
func Await(c net.Conn, id string, wait time.Duration) (Reply, error) {
	limit, text := time.Duration(0), "true"
	if wait > 0 {
		limit, text = wait+answerTime, wait.String()
	}
	path := "/v1/jobs/" + url.PathEscape(id) + "?wait=" + text
	return exchange(c, fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: dispatchd\r\nConnection: close\r\n\r\n", path), limit)
}

// exchange writes a request and reads its answer, within this time if it is
// not 0.
func exchange(c net.Conn, request []byte, limit time.Duration) (Reply, error) {
	if limit > 0 {
		if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
			return Reply{}, err
		}
	}
	_, broken := c.Write(request)
	// A daemon that refuses a request may answer before it has read all of it.
	r, err := read(bufio.NewReader(c))
	if err != nil && broken != nil {
		err = broken
	}
	return r, err
}

// encode writes a notify.
func encode(r Request) []byte {
	var body []byte
	if len(r.Arguments) > 0 {
		body = append(append([]byte(`{"arguments":`), r.Arguments...), '}')
	}
	b := fmt.Appendf(nil, "POST /v1/dispatchers/%s/notify HTTP/1.1\r\nHost: dispatchd\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n",
		url.PathEscape(r.Name), len(body))
	if r.Key != "" {
		b = fmt.Appendf(b, "Idempotency-Key: %s\r\n", r.Key)
	}
	return append(append(b, "\r\n"...), body...)
}

// read reads an answer with a length, in chunks, or up to the end.
func read(br *bufio.Reader) (Reply, error) {
	var r Reply
	tp := textproto.NewReader(br)
	line, err := tp.ReadLine()
	if err != nil {
		return r, fmt.Errorf("no answer: %w", err)
	}
	f := strings.SplitN(line, " ", 3)
	if len(f) < 2 || !strings.HasPrefix(f[0], "HTTP/1.") {
		return r, fmt.Errorf("not an HTTP answer: %.60q", line)
	}
	if r.Status, err = strconv.Atoi(f[1]); err != nil {
		return r, fmt.Errorf("not an HTTP answer: %.60q", line)
	}
	h, err := tp.ReadMIMEHeader()
	if err != nil {
		return r, fmt.Errorf("answer's header: %w", err)
	}
	r.API = h.Get(ipc.APIHeader)
	r.RetryAfter, _ = strconv.Atoi(h.Get("Retry-After"))
	switch {
	case strings.EqualFold(h.Get("Transfer-Encoding"), "chunked"):
		r.Body, err = chunks(tp, br)
	case h.Get("Content-Length") != "":
		n, bad := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
		if bad != nil || n < 0 || n > maxReply {
			return r, fmt.Errorf("answer's length: %q", h.Get("Content-Length"))
		}
		r.Body = make([]byte, n)
		_, err = io.ReadFull(br, r.Body)
	default:
		r.Body, err = io.ReadAll(io.LimitReader(br, maxReply))
	}
	return r, err
}

// chunks reads a chunked body.
func chunks(tp *textproto.Reader, br *bufio.Reader) ([]byte, error) {
	var body []byte
	for {
		line, err := tp.ReadLine()
		if err != nil {
			return body, err
		}
		size, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 32)
		if err != nil || len(body)+int(n) > maxReply {
			return body, fmt.Errorf("answer's chunk: %.20q", line)
		}
		if n == 0 {
			return body, nil
		}
		at := len(body)
		body = append(body, make([]byte, n)...)
		if _, err := io.ReadFull(br, body[at:]); err != nil {
			return body, err
		}
		if _, err := tp.ReadLine(); err != nil {
			return body, err
		}
	}
}
