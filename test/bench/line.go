package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
)

// line is a kept connection to the daemon. It speaks the least of HTTP, so that
// the client's own work hardly shows.
type line struct {
	conn net.Conn
	in   *textproto.Reader
}

// dial connects to a socket.
func dial(socket string) (*line, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	return &line{conn: c, in: textproto.NewReader(bufio.NewReader(c))}, nil
}

// close ends the connection.
func (l *line) close() { _ = l.conn.Close() }

// ask sends a request and gives the answer's Location; any status but 200 and
// 202 is an error.
func (l *line) ask(req []byte) (location string, err error) {
	if _, err := l.conn.Write(req); err != nil {
		return "", err
	}
	status, err := l.in.ReadLine()
	if err != nil {
		return "", err
	}
	head, err := l.in.ReadMIMEHeader()
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseInt(head.Get("Content-Length"), 10, 64)
	if err != nil {
		return "", fmt.Errorf("answer's length: %w", err)
	}
	if strings.HasPrefix(status, "HTTP/1.1 20") {
		_, err := io.CopyN(io.Discard, l.in.R, n)
		return head.Get("Location"), err
	}
	body, _ := io.ReadAll(io.LimitReader(l.in.R, n))
	return "", fmt.Errorf("%s: %s", status, body)
}
