package server

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"dispatchd/ipc"
)

// guard refuses what is foreign, too large, too slow or too much, before any
// route. Behind it a request is whole: nothing more is read from the peer, so
// no deadline is left that could end a long wait.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(ipc.APIHeader, ipc.SpokenAPI())
		if c, ok := connOf(r.Context()); ok {
			c.handling.Store(true)
		}
		if r.ContentLength != 0 {
			// Also for what is refused unread: net/http reads on behind the
			// answer. It lifts the deadline at the body's end. Without a body it
			// would be in force for as long as the handler waits.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.opts.Times.Body))
		}
		err := s.checkRequest(r)
		if err == nil && r.ContentLength != 0 {
			err = s.readBody(r)
		}
		if err != nil {
			s.countRefusal(asError(err).Kind)
			w.Header().Set("Connection", "close")
			writeError(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// checkRequest says why a request is not taken at all, nil if it is.
func (s *Server) checkRequest(r *http.Request) error {
	if c, ok := connOf(r.Context()); ok && c.overLimit && s.conns.count() > s.opts.MaxConns {
		return s.tooManyConns()
	}
	if size := headerSize(r); size > maxHeader {
		return ipc.Errorf(ipc.KindHeaderTooLarge, "the request's header has %d bytes, more than %d", size, maxHeader)
	}
	if err := checkOrigin(r); err != nil {
		return err
	}
	if n := len(r.Header["Idempotency-Key"]); n > 1 {
		return ipc.Errorf(ipc.KindBadRequest, "Idempotency-Key is given %d times", n)
	}
	query, err := strictQuery(r.URL.RawQuery)
	r.URL.RawQuery = query
	return err
}

// headerSize is the length of the request line's target and all header lines.
func headerSize(r *http.Request) int {
	size := len(r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	return size
}

// checkOrigin refuses what a web page on this machine may have sent: only such a
// request has an origin, and one that comes by a name of its own choice has a
// checkOrigin host.
func checkOrigin(r *http.Request) error {
	switch r.Host {
	case "", "localhost", "dispatchd", "unix":
	default:
		return ipc.Errorf(ipc.KindForbidden, "host %.80q is not this daemon; use http://localhost", r.Host)
	}
	if origin := r.Header["Origin"]; len(origin) > 0 {
		return ipc.Errorf(ipc.KindForbidden, "requests of a web page are refused (Origin %.80q)", origin[0])
	}
	for _, site := range r.Header["Sec-Fetch-Site"] {
		if site != "none" {
			return ipc.Errorf(ipc.KindForbidden, "requests of a web page are refused (Sec-Fetch-Site %.80q)", site)
		}
	}
	return nil
}

// strictQuery gives every parameter of a query a value: a bare name means true.
// One that is given twice, or not readable, is an error: it would be ignored
// in silence otherwise.
func strictQuery(query string) (string, error) {
	if query == "" {
		return "", nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return query, ipc.Errorf(ipc.KindBadRequest, "query: %v", err)
	}
	for name, v := range values {
		if len(v) > 1 {
			return query, ipc.Errorf(ipc.KindBadRequest, "query: %.40q is given %d times", name, len(v))
		}
	}
	parts := strings.Split(query, "&")
	for i, part := range parts {
		if part != "" && !strings.Contains(part, "=") {
			parts[i] = part + "=true"
		}
	}
	return strings.Join(parts, "&"), nil
}

// readBody reads the body as a whole.
func (s *Server) readBody(r *http.Request) error {
	if r.ContentLength > maxBody && r.Header.Get("Expect") != "" {
		return tooLarge() // it has not been sent yet
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ipc.Errorf(ipc.KindRequestTimeout, "the request's body did not come to its end within %v", s.opts.Times.Body)
	case err != nil:
		return ipc.Errorf(ipc.KindBadRequest, "the request's body broke off after %d bytes: %v", len(body), err)
	case len(body) > maxBody:
		_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
		return tooLarge()
	}
	r.Body = wholeBody{body}
	return nil
}

// tooLarge refuses a body.
func tooLarge() error {
	return ipc.Errorf(ipc.KindBodyTooLarge, "the body is larger than %d bytes", maxBody)
}
