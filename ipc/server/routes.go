package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"dispatchd/ipc"
)

// Access is what a caller needs for a route.
type Access string

// The levels of access. Today each user of the socket has all of them; a
// dispatcher's own rules come with a later stage.
const (
	AccessRead   Access = "read"
	AccessNotify Access = "notify"
	AccessAdmin  Access = "admin"
)

// authorize is the one place that says who may do what. The socket's mode and
// group have let the peer in; that is the whole rule today.
func authorize(_ ipc.Peer, a Access) error {
	switch a {
	case AccessRead, AccessNotify, AccessAdmin:
		return nil
	}
	return ipc.Errorf(ipc.KindForbidden, "this route has no access rule")
}

// route is one row of the API.
type route struct {
	method, path, id string
	access           Access
	summary          string
	status           int
	register         func(*Server, huma.API, route)
}

// routes is the whole API.
func (s *Server) routes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, "/openapi.json", "openapi", AccessRead, "This description", 200, op(s.openapi)},
		{get, "/v1/health", "health", AccessRead, "Whether the daemon works", 200, now(s.health)},
		{get, "/v1/status", "status", AccessRead, "The daemon at a glance", 200, now(s.status)},
		{get, "/v1/dispatchers", "dispatchers", AccessRead, "All dispatchers", 200, now(s.dispatchers)},
		{get, "/v1/dispatchers/{name}", "dispatcher", AccessRead, "One dispatcher with its definition", 200, now(s.dispatcher)},
		{post, "/v1/dispatchers/{name}/notify", "notify", AccessNotify, "Ask for a run", 202, op(s.notify)},
		{post, "/v1/dispatchers/{name}/pause", "pause", AccessAdmin, "Accept, but start nothing", 200, now(s.pause)},
		{post, "/v1/dispatchers/{name}/resume", "resume", AccessAdmin, "Start again", 200, now(s.resume)},
		{get, "/v1/jobs", "jobs", AccessRead, "Jobs, newest first", 200, now(s.jobs)},
		{get, "/v1/jobs/{id}", "job", AccessRead, "One job; wait for its end", 200, op(s.job)},
		{get, "/v1/jobs/{id}/log", "log", AccessRead, "A job's output", 200, op(s.log)},
		{post, "/v1/jobs/{id}/cancel", "cancel", AccessNotify, "End a job", 200, now(s.cancelJob)},
		{post, "/v1/jobs/{id}/retry", "retry", AccessNotify, "A new job like an ended one", 202, now(s.retry)},
		{get, "/v1/locks", "locks", AccessRead, "Locks with holders and waiters", 200, now(s.locks)},
		{get, "/v1/schedule", "schedule", AccessRead, "When dispatchers are due", 200, now(s.schedule)},
		{get, "/v1/caches", "caches", AccessRead, "All caches", 200, now(s.caches)},
		{get, "/v1/caches/{name}", "cache", AccessRead, "A cache's data", 200, op(s.cache)},
		{post, "/v1/reload", "reload", AccessAdmin, "Read the definitions anew", 200, now(s.reload)},
		{post, "/v1/drain", "drain", AccessAdmin, "Accept nothing more; wait for the end of all jobs", 200, op(s.drain)},
		{post, "/v1/upgrade", "upgrade", AccessAdmin, "Become the program that is installed now; jobs go on", 202, now(s.upgrade)},
		{post, "/v1/undrain", "undrain", AccessAdmin, "Accept again", 200, now(s.undrain)},
	}
}

// handle answers one kind of request with a value.
type handle[I, O any] func(context.Context, ipc.Peer, *I) (*O, error)

// op makes a route of a handler: the peer is known and authorized before it
// runs. Its context ends when the client goes away, so it may wait.
func op[I, O any](fn handle[I, O]) func(*Server, huma.API, route) {
	return func(s *Server, api huma.API, r route) {
		o := huma.Operation{
			OperationID: r.id, Method: r.method, Path: r.path, Summary: r.summary, DefaultStatus: r.status,
			Extensions:       map[string]any{"x-access": string(r.access)},
			Responses:        map[string]*huma.Response{},
			SkipValidateBody: true, // the guard has bounded it, the handler reads it
		}
		if r.id == "notify" {
			o.RequestBody = &huma.RequestBody{}
		}
		huma.Register(api, o, func(ctx context.Context, in *I) (*O, error) {
			by, err := peerOf(ctx)
			if err == nil {
				err = authorize(by, r.access)
			}
			if err != nil {
				return nil, toHuma(err)
			}
			out, err := fn(ctx, by, in)
			if err != nil {
				return nil, toHuma(s.hungUp(err))
			}
			return out, nil
		})
		document(o)
	}
}

// now makes a route of a handler that does not wait. It is not broken off when
// the client has closed its side behind the request, as nc and socat do.
func now[I, O any](fn handle[I, O]) func(*Server, huma.API, route) {
	return func(s *Server, api huma.API, r route) {
		op(func(ctx context.Context, by ipc.Peer, in *I) (*O, error) {
			ctx, cancel := s.steady(ctx)
			defer cancel()
			return fn(ctx, by, in)
		})(s, api, r)
	}
}

// hungUp words the end of a wait that was due to the client alone.
func (s *Server) hungUp(err error) error {
	if errors.Is(err, context.Canceled) && s.base.Err() == nil {
		return ipc.Errorf(ipc.KindBadRequest, "the client closed its side of the connection, which ends a wait")
	}
	return err
}

// steady is a context that ends with the time for a call, but neither with the
// client nor with the server: a stop answers what was accepted.
func (s *Server) steady(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), s.opts.Times.Call)
}

// none is a request without parameters.
type none struct{}

// body is an answer that is nothing but a value.
type body[T any] struct{ Body T }

// answer wraps a value.
func answer[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, err
	}
	return &body[T]{v}, nil
}

// list wraps values; none are [], not null.
func list[T any](v []T, err error) (*body[[]T], error) {
	if v == nil {
		v = []T{}
	}
	return answer(v, err)
}
