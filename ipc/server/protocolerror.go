package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"dispatchd/ipc"
)

// protocolError makes a problem of net/http's own refusal, which it writes as
// text before any handler runs. It gives nil for everything else.
func protocolError(b []byte) *ipc.Error {
	rest, ok := bytes.CutPrefix(b, []byte("HTTP/1.1 "))
	if !ok { // the client speaks HTTP/1.0
		rest, ok = bytes.CutPrefix(b, []byte("HTTP/1.0 "))
	}
	if !ok || len(rest) < 3 || (rest[0] != '4' && rest[0] != '5') {
		return nil
	}
	if head, _, _ := bytes.Cut(b, []byte("\r\n\r\n")); bytes.Contains(head, []byte("problem+json")) {
		return nil // it is a problem already
	}
	switch string(rest[:3]) {
	case "431":
		return ipc.Errorf(ipc.KindHeaderTooLarge, "the request's header has more than %d bytes", maxHeader)
	case "417":
		return ipc.Errorf(ipc.KindBadRequest, "the request expects what is not done here; only Expect: 100-continue is")
	case "501":
		return ipc.Errorf(ipc.KindBadRequest, "the transfer encoding is not known; only chunked is")
	}
	line, _, _ := bytes.Cut(rest, []byte("\r\n"))
	p := ipc.Errorf(ipc.KindBadRequest, "the request is not HTTP/1.1 as it should be")
	if _, why, ok := bytes.Cut(line, []byte(": ")); ok {
		p.Detail += ": " + strconv.Quote(string(why))
	}
	return p
}

// rawProblem is a problem as a whole HTTP answer, for a connection that no handler
// serves.
func rawProblem(p *ipc.Error) []byte {
	p = complete(p)
	body, _ := json.Marshal(p) // strings and numbers only
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\n%s: %s\r\nConnection: close\r\n",
		p.Status, p.Title, ipc.APIHeader, ipc.SpokenAPI())
	if p.RetryAfter > 0 {
		head += fmt.Sprintf("Retry-After: %d\r\n", p.RetryAfter)
	}
	return fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
}
