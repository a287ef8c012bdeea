package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"dispatchd/ipc"
)

// Bounds of a request. A larger one is refused with a typed error.
const (
	maxBody    = 1 << 20
	maxHeader  = 3 << 10 // all header lines together
	maxKey     = 128
	headerTime = 5 * time.Second
	bodyTime   = 10 * time.Second
	writeTime  = 30 * time.Second
	idleTime   = 2 * time.Minute
)

// Options of a server. MaxConns 0 = 512.
type Options struct {
	Log      *slog.Logger
	Version  string
	MaxConns int
}

// Server answers the API for a Backend.
type Server struct {
	backend Backend
	opts    Options
	http    *http.Server
	conns   atomic.Int64
	retire  *retirement
	base    context.Context
	cancel  context.CancelFunc
}

// New makes a server.
func New(b Backend, o Options) *Server {
	if o.MaxConns <= 0 {
		o.MaxConns = 512
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{backend: b, opts: o, retire: newRetirement()}
	s.base, s.cancel = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return s.base },
		ConnContext:       s.connContext,
		ConnState:         s.connState,
	}
	return s
}

// Serve answers until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	s.retire.serves(l)
	err := s.http.Serve(wrap{l})
	if s.retire.served() || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown accepts nothing more, ends waits, and gives open requests until ctx
// is done.
func (s *Server) Shutdown(ctx context.Context) error {
	s.cancel()
	s.retire.begin()
	s.http.SetKeepAlivesEnabled(false) // closes the idle ones, too
	err := s.retire.wait(ctx)
	_ = s.http.Close()
	return err
}

// handler is the API behind the checks that hold for every request.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("dispatchd", s.opts.Version)
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil
	config.OpenAPIPath = "/openapi"
	config.Info.Description = "Runs the slow operations of an appliance in the background, one at a time."
	setErrors()
	api := humago.New(mux, config)
	for _, r := range s.routes() {
		r.register(api, r)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, ipc.Errorf(ipc.KindNotFound, "no such path: %.80q; see /openapi.json", r.URL.Path))
	})
	return s.guard(methods(mux))
}

// methods answers a wrong method with a problem instead of text.
func methods(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "/" {
			if allow := allowed(mux, r); allow != "" {
				w.Header().Set("Allow", allow)
				fail(w, ipc.Errorf(ipc.KindMethodNotAllowed, "%s is not possible on %.80q, only %s", r.Method, r.URL.Path, allow))
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}

// allowed is the method that a path has, "" if there is no such path.
func allowed(mux *http.ServeMux, r *http.Request) string {
	for _, m := range []string{http.MethodGet, http.MethodPost} {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := mux.Handler(probe); pattern != "/" && pattern != "" {
			return m
		}
	}
	return ""
}

// guard refuses what is foreign, too large or too much, before any route.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(ipc.APIHeader, ipc.SpokenAPI())
		if err := s.refuse(r); err != nil {
			w.Header().Set("Connection", "close")
			fail(w, err)
			return
		}
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(bodyTime))
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// refuse says why a request is not taken at all, nil if it is.
func (s *Server) refuse(r *http.Request) error {
	if s.conns.Load() > int64(s.opts.MaxConns) {
		p := ipc.Errorf(ipc.KindTooManyConnections, "more than %d connections are open", s.opts.MaxConns)
		p.RetryAfter = 1
		return p
	}
	size := len(r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	if size > maxHeader {
		return ipc.Errorf(ipc.KindHeaderTooLarge, "the request's header has %d bytes, more than %d", size, maxHeader)
	}
	switch r.Host {
	case "", "localhost", "dispatchd", "unix":
	default:
		return ipc.Errorf(ipc.KindForbidden, "host %.80q is not this daemon; use http://localhost", r.Host)
	}
	if origin := r.Header.Get("Origin"); origin != "" || r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return ipc.Errorf(ipc.KindForbidden, "requests of a web page are refused (origin %.80q)", origin)
	}
	return nil
}
