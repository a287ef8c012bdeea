package server

import (
	"context"
	"errors"
	"net/http"
	"path"
	"reflect"
	"strconv"
	"strings"

	"dispatchd/ipc"
)

// route is one row of the API: where it is, what a caller asks for by it, and
// what answers. The mux, the description (/openapi.json) and the tests are made
// of the rows; nothing is reachable beside them.
type route struct {
	method, path, id string
	verb             Verb
	summary          string
	status           int
	endpoint
}

// routes is the whole API.
func routes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, "/", "index", VerbHealth, "What this is", 200, handle((*Server).index)},
		{get, "/problems/{kind}", "problem", VerbHealth, "What a kind of problem means", 200, handle((*Server).problemType)},
		{get, "/openapi.json", "openapi", VerbHealth, "This description", 200, handleRaw((*Server).openapi)},
		{get, "/v1/health", "health", VerbHealth, "Whether the daemon works", 200, handle((*Server).health)},
		{get, "/v1/status", "status", VerbStatus, "The daemon at a glance", 200, handle((*Server).status)},
		{get, "/v1/dispatchers", "dispatchers", VerbRead, "All dispatchers", 200, handle((*Server).dispatchers)},
		{get, "/v1/dispatchers/{name}", "dispatcher", VerbRead, "One dispatcher with its definition", 200, handle((*Server).dispatcher)},
		{post, "/v1/dispatchers/{name}/notify", "notify", VerbNotify, "Ask for a run", 202, handleRaw((*Server).notify)},
		{post, "/v1/dispatchers/{name}/pause", "pause", VerbPause, "Accept, but start nothing", 200, handle((*Server).pause)},
		{post, "/v1/dispatchers/{name}/resume", "resume", VerbPause, "Start again", 200, handle((*Server).resume)},
		{get, "/v1/jobs", "jobs", VerbRead, "Jobs, newest first", 200, handleList((*Server).jobs)},
		{get, "/v1/jobs/{id}", "job", VerbRead, "One job; wait for its end", 200, handleRaw((*Server).job)},
		{get, "/v1/jobs/{id}/log", "log", VerbOutput, "A job's output", 200, handleRaw((*Server).log)},
		{post, "/v1/jobs/{id}/cancel", "cancel", VerbCancel, "End a job", 200, handle((*Server).cancelJob)},
		{post, "/v1/jobs/{id}/hold", "hold", VerbHold, "Wait for a job's end; it is canceled when the caller goes away before", 200, handleWaiting((*Server).waitBound)},
		{post, "/v1/jobs/{id}/retry", "retry", VerbRetry, "A new job like an ended one", 202, handleRaw((*Server).retry)},
		{get, "/v1/locks", "locks", VerbRead, "Locks with holders and waiters", 200, handle((*Server).locks)},
		{get, "/v1/schedule", "schedule", VerbRead, "When dispatchers are due", 200, handle((*Server).schedule)},
		{get, "/v1/caches", "caches", VerbRead, "All caches", 200, handle((*Server).caches)},
		{get, "/v1/caches/{name}", "cache", VerbRead, "A cache's data; it is refreshed first where it is too old, but for a browser", 200, handleRaw((*Server).cache)},
		{post, "/v1/caches/{name}/refresh", "refresh", VerbNotify, "A cache's data, refreshed first where it is too old", 200, handleRaw((*Server).refreshCache)},
		{post, "/v1/reload", "reload", VerbReload, "Read the definitions anew", 200, handle((*Server).reload)},
		{post, "/v1/drain", "drain", VerbDrain, "Accept nothing more; wait for the end of all jobs", 200, handleWaiting((*Server).drain)},
		{post, "/v1/upgrade", "upgrade", VerbUpgrade, "Become the program that is installed now; jobs go on", 202, handle((*Server).upgrade)},
		{post, "/v1/undrain", "undrain", VerbUndrain, "Accept again", 200, handle((*Server).undrain)},
	}
}

// Route is a row of the API as others see it.
type Route struct {
	ID, Method, Path string
	Verb             Verb
}

// Routes lists the API, so that the Backend's tests can hold its access rules
// against it.
func Routes() []Route {
	var list []Route
	for _, r := range routes() {
		list = append(list, Route{r.id, r.method, r.path, r.verb})
	}
	return list
}

// endpoint answers a route. Its types are what the description is made of.
type endpoint struct {
	in, out reflect.Type // the parameters, and the value that answers; out is nil where the handler writes more than a value
	serve   func(s *Server, status int, by ipc.Peer, w http.ResponseWriter, r *http.Request) error
}

// handle makes an endpoint of a handler that does not wait. It is not broken off
// when the client has closed its side behind the request, as nc and socat do.
func handle[I, T any](fn func(*Server, context.Context, ipc.Peer, *I) (T, error)) endpoint {
	return handleWaiting(func(s *Server, ctx context.Context, by ipc.Peer, in *I) (T, error) {
		ctx, cancel := s.ignoreHangup(ctx)
		defer cancel()
		return fn(s, ctx, by, in)
	})
}

// handleWaiting makes an endpoint of a handler that answers with a value. Its
// context ends when the client goes away, so it may wait.
func handleWaiting[I, T any](fn func(*Server, context.Context, ipc.Peer, *I) (T, error)) endpoint {
	e := endpointOf(func(s *Server, status int, by ipc.Peer, w http.ResponseWriter, r *http.Request, in *I) error {
		v, err := fn(s, r.Context(), by, in)
		if err != nil {
			return err
		}
		return s.writeJSON(by, w, status, v, r.Method == http.MethodPost)
	})
	e.out = reflect.TypeFor[T]()
	return e
}

// handleList makes an endpoint of a handler that gives a list's elements one after
// the other: the list is nowhere whole.
func handleList[I, T any](fn func(*Server, context.Context, ipc.Peer, *I, func(T) error) error) endpoint {
	e := endpointOf(func(s *Server, status int, by ipc.Peer, w http.ResponseWriter, r *http.Request, in *I) error {
		l := &listWriter{server: s, by: by, w: w, status: status}
		return l.end(fn(s, r.Context(), by, in, func(v T) error { return l.add(v) }))
	})
	e.out = reflect.TypeFor[[]T]()
	return e
}

// handleRaw makes an endpoint of a handler that writes its answer itself:
// headers, a status of its own, or a body that comes piece by piece. A handler
// that returns an error has written nothing.
func handleRaw[I any](fn func(*Server, context.Context, ipc.Peer, *I, http.ResponseWriter) error) endpoint {
	return endpointOf(func(s *Server, _ int, by ipc.Peer, w http.ResponseWriter, r *http.Request, in *I) error {
		return fn(s, r.Context(), by, in, w)
	})
}

// endpointOf reads the parameters and hands them to a handler.
func endpointOf[I any](fn func(*Server, int, ipc.Peer, http.ResponseWriter, *http.Request, *I) error) endpoint {
	t := reflect.TypeFor[I]()
	list := parametersOf(t)
	return endpoint{in: t, serve: func(s *Server, status int, by ipc.Peer, w http.ResponseWriter, r *http.Request) error {
		in := new(I)
		if err := list.read(r, reflect.ValueOf(in).Elem()); err != nil {
			return err
		}
		return fn(s, status, by, w, r, in)
	}}
}

// handler is the API behind the checks that hold for every request. Nothing is
// reachable but the table's routes.
func (s *Server) handler(table []route) http.Handler {
	mux := http.NewServeMux()
	for _, r := range table {
		pattern := r.path
		if pattern == "/" {
			pattern = "/{$}" // this path alone, and not all that nothing else matches
		}
		mux.Handle(r.method+" "+pattern, s.authorized(r))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { writeError(w, noRoute(mux, w, r)) })
	return s.guard(cleanPaths(mux))
}

// authorized serves a route for a peer that the kernel has named. Whether that
// peer may do it, the Backend decides.
func (s *Server) authorized(row route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		by, err := peerOf(r.Context())
		if err == nil {
			err = s.explainHangup(row.serve(s, row.status, by, w, r))
		}
		if err != nil {
			writeError(w, err)
		}
	})
}

// cleanPaths refuses a path with dots or double slashes, where a ServeMux would
// redirect.
func cleanPaths(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.EscapedPath(); !strings.HasPrefix(p, "/") || path.Clean(p) != p {
			writeError(w, noPath(r))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// noRoute is the problem of a request that no row matches: its path is wrong, or
// only its method, where a ServeMux would answer in text.
func noRoute(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) error {
	var methods []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := mux.Handler(probe); pattern != "/" {
			methods = append(methods, m)
		}
	}
	if len(methods) == 0 {
		return noPath(r)
	}
	allow := strings.Join(methods, ", ")
	w.Header().Set("Allow", allow)
	return ipc.Errorf(ipc.KindMethodNotAllowed, "%.20s is not possible on %.80q, only %s", r.Method, r.URL.Path, allow)
}

// noPath says that nothing is there.
func noPath(r *http.Request) error {
	if isLater(r.URL.Path) {
		p := ipc.Errorf(ipc.KindNotSupported, "%.80s is not supported yet", r.URL.Path)
		p.Suggestion = "a later version has it; /openapi.json says what there is"
		return p
	}
	return ipc.Errorf(ipc.KindNotFound, "no such path: %.80q; see /openapi.json", r.URL.Path)
}

// setJobHeaders says of a job what a shell can read without its body.
func setJobHeaders(h http.Header, job ipc.Job) {
	h.Set(ipc.JobHeader, job.ID)
	h.Set(ipc.StateHeader, string(job.State))
	if job.State.Final() {
		h.Set(ipc.ExitHeader, strconv.Itoa(job.ExitStatus()))
	}
}

// isLater reports whether a path is one that the contract names for a later version.
func isLater(path string) bool {
	switch path {
	case "/metrics", "/v1/events", "/v1/whoami", "/v1/alerts", "/v1/applied":
		return true
	}
	name, ok := strings.CutPrefix(path, "/v1/dispatchers/")
	_, verb, two := strings.Cut(name, "/")
	return ok && two && (verb == "plan" || verb == "applied") || strings.HasPrefix(path, "/v1/alerts/")
}

// explainHangup words the end of a wait that was due to the client alone.
func (s *Server) explainHangup(err error) error {
	if errors.Is(err, context.Canceled) && s.base.Err() == nil {
		return ipc.Errorf(ipc.KindBadRequest, "the client closed its side of the connection, which ends a wait")
	}
	return err
}

// ignoreHangup is a context that ends with the time for a call, but neither with
// the client nor with the server: a stop answers what was accepted.
func (s *Server) ignoreHangup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), s.opts.Times.Call)
}

// noInput is a request without parameters.
type noInput struct{}

// nonNil is a list, or why there is none; an empty one is [], not null.
func nonNil[T any](v []T, err error) ([]T, error) {
	if v == nil {
		v = []T{}
	}
	return v, err
}
