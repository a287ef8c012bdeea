package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"dispatchd/ipc"
)

// guard refuses a request that is foreign, too large, too slow or one too many,
// before any route sees it. It reads the body as a whole, so that behind it
// nothing more is read from the peer, and no read deadline is left that could end
// a long wait.
func (s *Server) guard(next http.Handler) http.Handler {
	name, spoken := http.CanonicalHeaderKey(ipc.APIHeader), []string{ipc.SpokenAPI()} // shared by all answers: nobody changes it
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()[name] = spoken
		if c, ok := connOf(r.Context()); ok {
			c.handling.Store(true)
		}
		release, err := s.takeBody(r)
		defer release()
		if r.ContentLength != 0 {
			// Set also where the body is refused unread, for net/http reads on
			// behind the answer. It lifts the deadline at the body's end: without
			// a body it would hold for as long as the handler waits.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.opts.Times.Body))
		}
		if err == nil {
			err = s.checkRequest(r)
		}
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

// bodyRelease is the key of the function that gives a body's bytes back.
type bodyRelease struct{}

// takeBody waits until there is room for a request's body.
func (s *Server) takeBody(r *http.Request) (release func(), err error) {
	n := r.ContentLength
	if n < 0 {
		n = maxBody
	}
	if n <= budgetSmall || n > maxBody {
		return func() {}, nil
	}
	by, _ := peerOf(r.Context())
	release, err = s.takeBytes(r.Context(), by, n)
	if err == nil {
		*r = *r.WithContext(context.WithValue(r.Context(), bodyRelease{}, release))
	}
	return release, err
}

// releaseBody gives the bytes of a request's body back before the request ends:
// nobody needs it any more.
func releaseBody(ctx context.Context) {
	if release, ok := ctx.Value(bodyRelease{}).(func()); ok {
		release()
	}
}

// checkRequest refuses a request by what its header says, before its body is
// read. It also gives bare parameters of the query their value.
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

// headerSize is the length of the request's target and of all header lines.
func headerSize(r *http.Request) int {
	size := len(r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	return size
}

// checkOrigin refuses what a web page may have made a browser send, through a
// proxy before the socket: such a request has an Origin or a Sec-Fetch-Site, and
// after DNS rebinding a Host of the page's choice.
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
// A parameter that is there twice, or that cannot be decoded, is an error, for
// url.Values.Get would ignore it.
func strictQuery(query string) (string, error) {
	if query == "" {
		return "", nil
	}
	if _, err := url.ParseQuery(query); err != nil {
		return query, ipc.Errorf(ipc.KindBadRequest, "query: %v", err)
	}
	parts := strings.Split(query, "&")
	for i, part := range parts {
		if part != "" && !strings.Contains(part, "=") {
			parts[i] = part + "=true"
		}
	}
	return strings.Join(parts, "&"), nil
}

// readBody reads the body as a whole, at most maxBody bytes.
func (s *Server) readBody(r *http.Request) error {
	if r.ContentLength > maxBody {
		if r.Header.Get("Expect") == "" { // else the client waits for leave to send it
			_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
		}
		return tooLarge()
	}
	body, err := readWhole(r)
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

// readWhole reads a body, whose length may not be known.
func readWhole(r *http.Request) ([]byte, error) {
	if r.ContentLength < 0 {
		return io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	}
	body := make([]byte, r.ContentLength)
	n, err := io.ReadFull(r.Body, body)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return body[:n], err
}

// tooLarge is the refusal of a body above maxBody.
func tooLarge() error {
	return ipc.Errorf(ipc.KindBodyTooLarge, "the body is larger than %d bytes", maxBody)
}
