package server

import (
	"context"
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
	register         func(huma.API, route)
}

// routes is the whole API.
func (s *Server) routes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, "/v1/health", "health", AccessRead, "Whether the daemon works", 200, op(s.health)},
		{get, "/v1/status", "status", AccessRead, "The daemon at a glance", 200, op(s.status)},
		{get, "/v1/dispatchers", "dispatchers", AccessRead, "All dispatchers", 200, op(s.dispatchers)},
		{get, "/v1/dispatchers/{name}", "dispatcher", AccessRead, "One dispatcher with its definition", 200, op(s.dispatcher)},
		{post, "/v1/dispatchers/{name}/notify", "notify", AccessNotify, "Ask for a run", 202, op(s.notify)},
		{post, "/v1/dispatchers/{name}/pause", "pause", AccessAdmin, "Accept, but start nothing", 200, op(s.pause)},
		{post, "/v1/dispatchers/{name}/resume", "resume", AccessAdmin, "Start again", 200, op(s.resume)},
		{get, "/v1/jobs", "jobs", AccessRead, "Jobs, newest first", 200, op(s.jobs)},
		{get, "/v1/jobs/{id}", "job", AccessRead, "One job; wait for its end", 200, op(s.job)},
		{get, "/v1/jobs/{id}/log", "log", AccessRead, "A job's output", 200, op(s.log)},
		{post, "/v1/jobs/{id}/cancel", "cancel", AccessNotify, "End a job", 200, op(s.cancelJob)},
		{post, "/v1/jobs/{id}/retry", "retry", AccessNotify, "A new job like an ended one", 202, op(s.retry)},
		{get, "/v1/locks", "locks", AccessRead, "Locks with holders and waiters", 200, op(s.locks)},
		{post, "/v1/reload", "reload", AccessAdmin, "Read the definitions anew", 200, op(s.reload)},
		{post, "/v1/drain", "drain", AccessAdmin, "Accept nothing more; wait for the end of all jobs", 200, op(s.drain)},
		{post, "/v1/upgrade", "upgrade", AccessAdmin, "Become the program that is installed now; jobs go on", 202, op(s.upgrade)},
		{post, "/v1/undrain", "undrain", AccessAdmin, "Accept again", 200, op(s.undrain)},
	}
}

// op makes a route of a handler that returns a value: the peer is known and
// authorized before it runs.
func op[I, O any](fn func(context.Context, ipc.Peer, *I) (*O, error)) func(huma.API, route) {
	return func(api huma.API, r route) {
		o := huma.Operation{
			OperationID: r.id, Method: r.method, Path: r.path, Summary: r.summary, DefaultStatus: r.status,
			MaxBodyBytes: maxBody, Extensions: map[string]any{"x-access": string(r.access)}, SkipValidateBody: true,
		}
		if r.id == "notify" {
			o.RequestBody = &huma.RequestBody{Description: `{"arguments": any JSON}; empty = no arguments`}
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
				return nil, toHuma(err)
			}
			return out, nil
		})
		if o.RequestBody != nil {
			o.RequestBody.Required = false // huma makes every raw body required
		}
	}
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
