package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"dispatchd/ipc"
)

func dispatcherPath(name string) string { return "/v1/dispatchers/" + url.PathEscape(name) }
func jobPath(id string) string          { return "/v1/jobs/" + url.PathEscape(id) }

// Job gives one job by its id or a unique start of it.
func (c *Client) Job(ctx context.Context, id string) (ipc.Job, error) {
	return get[ipc.Job](ctx, c, jobPath(id))
}

// Jobs lists jobs, newest first.
func (c *Client) Jobs(ctx context.Context, f ipc.JobFilter) ([]ipc.Job, error) {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	set("dispatcher", f.Dispatcher)
	states := f.States
	if f.State != "" {
		states = append([]ipc.State{f.State}, states...)
	}
	set("state", strings.Join(words(states), ","))
	set("before", f.Before)
	set("fields", strings.Join(f.Fields, ","))
	if !f.Since.IsZero() {
		set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	if f.Limit > 0 {
		set("limit", strconv.Itoa(f.Limit))
	}
	return get[[]ipc.Job](ctx, c, "/v1/jobs?"+q.Encode())
}

// Cancel ends a job.
func (c *Client) Cancel(ctx context.Context, id string) (ipc.Job, error) {
	return post[ipc.Job](ctx, c, jobPath(id)+"/cancel")
}

// Dispatchers lists all dispatchers.
func (c *Client) Dispatchers(ctx context.Context) ([]ipc.Dispatcher, error) {
	return get[[]ipc.Dispatcher](ctx, c, "/v1/dispatchers")
}

// Dispatcher gives one dispatcher with its definition.
func (c *Client) Dispatcher(ctx context.Context, name string) (ipc.Dispatcher, error) {
	return get[ipc.Dispatcher](ctx, c, dispatcherPath(name))
}

// Pause keeps a dispatcher's queued jobs from starting, or lets them start again.
func (c *Client) Pause(ctx context.Context, name string, paused bool) (ipc.Dispatcher, error) {
	verb := "/resume"
	if paused {
		verb = "/pause"
	}
	return post[ipc.Dispatcher](ctx, c, dispatcherPath(name)+verb)
}

// Locks lists locks with holders and waiters.
func (c *Client) Locks(ctx context.Context) ([]ipc.Lock, error) {
	return get[[]ipc.Lock](ctx, c, "/v1/locks")
}

// Status is the daemon at a glance.
func (c *Client) Status(ctx context.Context) (ipc.Status, error) {
	return get[ipc.Status](ctx, c, "/v1/status")
}

// Health says whether the daemon works.
func (c *Client) Health(ctx context.Context) (ipc.Health, error) {
	return get[ipc.Health](ctx, c, "/v1/health")
}

// Reload has the definitions read anew; a dry run only says what would change.
func (c *Client) Reload(ctx context.Context, dry bool) (ipc.Reload, error) {
	if dry {
		return post[ipc.Reload](ctx, c, "/v1/reload?dry_run=true")
	}
	return post[ipc.Reload](ctx, c, "/v1/reload")
}

// Drain makes the daemon refuse new jobs while on. With a wait it returns when all
// jobs have ended, or the wait has run out.
func (c *Client) Drain(ctx context.Context, on bool, wait time.Duration) (ipc.Status, error) {
	switch {
	case !on:
		return post[ipc.Status](ctx, c, "/v1/undrain")
	case wait > 0:
		return call[ipc.Status](ctx, c, request{method: http.MethodPost, path: "/v1/drain?wait=" + wait.String(), waits: wait})
	}
	return post[ipc.Status](ctx, c, "/v1/drain")
}

// Upgrade replaces the daemon by the program that is installed now. The new one
// answers when Status has another started_at.
func (c *Client) Upgrade(ctx context.Context) (ipc.Upgrade, error) {
	return post[ipc.Upgrade](ctx, c, "/v1/upgrade")
}

// OpenAPI gives the API's description as JSON.
func (c *Client) OpenAPI(ctx context.Context) (json.RawMessage, error) {
	return get[json.RawMessage](ctx, c, "/openapi.json")
}

// words are states as text.
func words(states []ipc.State) []string {
	list := make([]string, len(states))
	for i, s := range states {
		list[i] = string(s)
	}
	return list
}
