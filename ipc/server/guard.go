package server

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
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
		c, known := connOf(r.Context())
		if known {
			c.handling.Store(true)
			if !c.enter(stateRequest) {
				panic(http.ErrAbortHandler) // it made room for another connection
			}
		}
		err := s.checkRequest(r)
		if err == nil {
			var release func()
			release, err = s.takeBody(r)
			defer release()
		}
		if r.ContentLength != 0 {
			// Set also where the body is refused unread, for net/http reads on
			// behind the answer. It lifts the deadline at the body's end: without
			// a body it would hold for as long as the handler waits.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.opts.Times.Body))
		}
		if len(r.TransferEncoding) > 0 {
			// With a Content-Length beside it, it may be an attempt to have two
			// servers see two bodies (RFC 9112 section 6.3); and where the body ends,
			// framing does not know.
			w.Header().Set("Connection", "close")
		}
		if err == nil && r.ContentLength != 0 {
			err = s.readBody(r)
		}
		if err != nil {
			s.refused.count(asError(err).Kind)
			w.Header().Set("Connection", "close")
			writeError(w, err)
			return
		}
		if known {
			c.bodyRead.Store(true)
			if c.overLimit {
				w.Header().Set("Connection", "close")
			}
		}
		if fromBrowser(r.Header) {
			r = r.WithContext(context.WithValue(r.Context(), browserKey{}, true))
		}
		next.ServeHTTP(w, r)
	})
}

// browserKey marks the context of a request that a browser may have sent by itself.
type browserKey struct{}

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
	release, err = s.budgets.take(by, n)
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
	if c, ok := connOf(r.Context()); ok && s.places.crowdedOut(c) {
		return s.places.tooMany()
	}
	if size := headerSize(r); size > maxHeader {
		return ipc.Errorf(ipc.KindHeaderTooLarge, "the request's header has %d bytes, more than %d", size, maxHeader)
	}
	if err := checkOrigin(r); err != nil {
		return err
	}
	if r.Method == http.MethodPost || r.ContentLength != 0 {
		if err := checkMedia(r.Header); err != nil {
			return err
		}
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
// proxy or a forwarded port before the socket (ssh -L): such a request has an
// Origin, a Sec-Fetch-Site or a Referer, and after DNS rebinding a Host of the
// page's choice.
func checkOrigin(r *http.Request) error {
	if !isLocalHost(r.Host) {
		return ipc.Errorf(ipc.KindForbidden, "host %.80q is not this daemon; use a name without a dot, such as http://localhost", r.Host)
	}
	if origin := r.Header["Origin"]; len(origin) > 0 {
		return ipc.Errorf(ipc.KindForbidden, "requests of a web page are refused (Origin %.80q)", origin[0])
	}
	for _, site := range r.Header["Sec-Fetch-Site"] {
		if site != "none" {
			return ipc.Errorf(ipc.KindForbidden, "requests of a web page are refused (Sec-Fetch-Site %.80q)", site)
		}
	}
	for _, page := range r.Header["Referer"] {
		if u, err := url.Parse(page); err != nil || !isLocalHost(u.Host) {
			return ipc.Errorf(ipc.KindForbidden, "requests of a web page are refused (Referer %.80q)", page)
		}
	}
	return nil
}

// fromBrowser reports whether a browser may have sent a request by itself, as it
// does for a picture: old ones say no more of it than who they are. Clients of a
// socket say neither.
func fromBrowser(h http.Header) bool {
	if strings.HasPrefix(h.Get("User-Agent"), "Mozilla/") || h.Get("Accept-Language") != "" {
		return true
	}
	for name := range h {
		if strings.HasPrefix(name, "Sec-") {
			return true
		}
	}
	return false
}

// isLocalHost reports whether a Host is one that a client of a Unix socket makes
// up, as those of docker, podman and LXD do: a name of one label or none, with or
// without a port; or [::1], which a forwarded port has. DNS rebinding needs a name
// that its attacker resolves, and that has a dot. So has an IPv4 address: it is
// refused as ever.
func isLocalHost(host string) bool {
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		port := host[i+1:]
		if _, err := strconv.ParseUint(port, 10, 16); err != nil && port != "" {
			return false
		}
		name = host[:i]
	}
	if name == "[::1]" {
		return true
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

// strictQuery gives every parameter of a query a value: a bare name means true.
// A query that cannot be decoded is an error, for url.URL.Query would leave out what
// is wrong with it. What a route knows, and how often, its parameters say.
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

// checkMedia refuses a body that is not JSON by what its header says. A form's type
// is curl's for -d, and passes: a browser's form is refused by its Origin, and
// text/plain, by which old browsers sent JSON of a page's, is not taken.
func checkMedia(h http.Header) error {
	if coding := h.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return ipc.Errorf(ipc.KindUnsupportedMedia, "Content-Encoding %.40q: the body is taken as it is; send it without", coding)
	}
	text := h.Get("Content-Type")
	if text == "" {
		return nil
	}
	kind, _, err := mime.ParseMediaType(text)
	if err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json") || kind == "application/x-www-form-urlencoded") {
		return nil
	}
	return ipc.Errorf(ipc.KindUnsupportedMedia, "Content-Type %.80q: the body is to be application/json", text)
}

// tooLarge is the refusal of a body above maxBody.
func tooLarge() error {
	return ipc.Errorf(ipc.KindBodyTooLarge, "the body is larger than %d bytes", maxBody)
}
