package server

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"dispatchd/ipc"
)

// route is one row of the API.
type route struct {
	method, path, id string
	verb             Verb
	summary          string
	status           int
	register         registrar
}

// routes is the whole API.
func (s *Server) routes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, "/openapi.json", "openapi", VerbHealth, "This description", 200, whole(s.openapi)},
		{get, "/v1/health", "health", VerbHealth, "Whether the daemon works", 200, now(s.health)},
		{get, "/v1/status", "status", VerbStatus, "The daemon at a glance", 200, now(s.status)},
		{get, "/v1/dispatchers", "dispatchers", VerbRead, "All dispatchers", 200, now(s.dispatchers)},
		{get, "/v1/dispatchers/{name}", "dispatcher", VerbRead, "One dispatcher with its definition", 200, now(s.dispatcher)},
		{post, "/v1/dispatchers/{name}/notify", "notify", VerbNotify, "Ask for a run", 202, whole(s.notify)},
		{post, "/v1/dispatchers/{name}/pause", "pause", VerbPause, "Accept, but start nothing", 200, now(s.pause)},
		{post, "/v1/dispatchers/{name}/resume", "resume", VerbPause, "Start again", 200, now(s.resume)},
		{get, "/v1/jobs", "jobs", VerbRead, "Jobs, newest first", 200, now(s.jobs)},
		{get, "/v1/jobs/{id}", "job", VerbRead, "One job; wait for its end", 200, op(s.job)},
		{get, "/v1/jobs/{id}/log", "log", VerbOutput, "A job's output", 200, whole(s.log)},
		{post, "/v1/jobs/{id}/cancel", "cancel", VerbCancel, "End a job", 200, now(s.cancelJob)},
		{post, "/v1/jobs/{id}/hold", "hold", VerbHold, "Wait for a job's end; it is canceled when the caller goes away before", 200, op(s.hold)},
		{post, "/v1/jobs/{id}/retry", "retry", VerbRetry, "A new job like an ended one", 202, whole(s.retry)},
		{get, "/v1/locks", "locks", VerbRead, "Locks with holders and waiters", 200, now(s.locks)},
		{get, "/v1/schedule", "schedule", VerbRead, "When dispatchers are due", 200, now(s.schedule)},
		{get, "/v1/caches", "caches", VerbRead, "All caches", 200, now(s.caches)},
		{get, "/v1/caches/{name}", "cache", VerbRead, "A cache's data", 200, whole(s.cache)},
		{post, "/v1/reload", "reload", VerbReload, "Read the definitions anew", 200, now(s.reload)},
		{post, "/v1/drain", "drain", VerbDrain, "Accept nothing more; wait for the end of all jobs", 200, op(s.drain)},
		{post, "/v1/upgrade", "upgrade", VerbUpgrade, "Become the program that is installed now; jobs go on", 202, now(s.upgrade)},
		{post, "/v1/undrain", "undrain", VerbUndrain, "Accept again", 200, now(s.undrain)},
	}
}

// handle answers one kind of request.
type handle[I, O any] func(context.Context, ipc.Peer, *I) (O, error)

// registrar makes a route of a handler.
type registrar func(*Server, huma.API, route)

// value is an answer that is nothing else. All such routes have this
// one, so that the library's code for an answer is in the program once.
type value struct{ Body any }

// op makes a route of a handler that answers with a value. Its context ends when
// the client goes away, so it may wait.
func op[I, T any](fn handle[I, T]) registrar {
	return func(s *Server, api huma.API, r route) {
		o := r.operation()
		o.Responses[strconv.Itoa(r.status)] = &huma.Response{Content: map[string]*huma.MediaType{
			"application/json": {Schema: api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")},
		}}
		enter(api, o, func(ctx context.Context, in *I) (*value, error) {
			v, err := guarded(s, fn)(ctx, in)
			if err != nil {
				return nil, err
			}
			return &value{v}, nil
		})
	}
}

// now makes a route of a handler that does not wait. It is not broken off when
// the client has closed its side behind the request, as nc and socat do.
func now[I, T any](fn handle[I, T]) registrar {
	return func(s *Server, api huma.API, r route) {
		op(func(ctx context.Context, by ipc.Peer, in *I) (T, error) {
			ctx, cancel := s.steady(ctx)
			defer cancel()
			return fn(ctx, by, in)
		})(s, api, r)
	}
}

// whole makes a route of a handler whose answer has more than a value: headers,
// a status of its own, or a body that comes piece by piece.
func whole[I, O any](fn handle[I, *O]) registrar {
	return func(s *Server, api huma.API, r route) {
		o := r.operation()
		enter(api, o, guarded(s, fn))
	}
}

// enter puts an operation in. Nothing else does.
func enter[I, O any](api huma.API, o huma.Operation, fn func(context.Context, *I) (*O, error)) {
	huma.Register(api, o, fn)
	document(o)
}

// operation is the route as the library wants it.
func (r route) operation() huma.Operation {
	o := huma.Operation{
		OperationID: r.id, Method: r.method, Path: r.path, Summary: r.summary, DefaultStatus: r.status,
		Extensions:       map[string]any{"x-access": r.verb.level()},
		Responses:        map[string]*huma.Response{},
		SkipValidateBody: true, // the guard has bounded it, the handler reads it
	}
	if r.id == "notify" {
		o.RequestBody = &huma.RequestBody{}
	}
	return o
}

// guarded runs a handler for a peer that the kernel has named. Whether that peer
// may do it, the Backend decides.
func guarded[I, O any](s *Server, fn handle[I, O]) func(context.Context, *I) (O, error) {
	return func(ctx context.Context, in *I) (none O, _ error) {
		by, err := peerOf(ctx)
		if err != nil {
			return none, toHuma(err)
		}
		out, err := fn(ctx, by, in)
		if err != nil {
			return none, toHuma(s.hungUp(err))
		}
		return out, nil
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

// list is a list; none is [], not null.
func list[T any](v []T, err error) ([]T, error) {
	if v == nil {
		v = []T{}
	}
	return v, err
}
