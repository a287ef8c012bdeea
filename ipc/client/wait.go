package client

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode"

	"dispatchd/ipc"
)

const (
	pollTime  = 30 * time.Second // how long one request of a longer wait lasts
	minPause  = 50 * time.Millisecond
	maxPause  = time.Second
	retryTime = 15 * time.Second // how long a notify is asked again for
)

// backoff is the growing pause between tries.
type backoff struct{ next time.Duration }

// pause waits for the next pause, or ends with ctx.
func (p *backoff) pause(ctx context.Context) error {
	p.next = min(max(2*p.next, minPause), maxPause)
	timer := time.NewTimer(p.next)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isTransient reports whether an error is due to a daemon that goes down or comes
// up: it says so itself, or this client has reached one before.
func (c *Client) isTransient(err error) bool {
	p, ok := errors.AsType[*ipc.Error](err)
	if !ok {
		return false
	}
	switch p.Kind {
	case ipc.KindUnavailable:
		return c.reached.Load()
	case ipc.KindDraining, ipc.KindTooManyConnections:
		return true
	}
	return false
}

// patience is how a wait for a job treats answers that are not the end of it.
type patience struct {
	client *Client
	id     string
	pauses backoff
	silent time.Time // since when no daemon was there; zero = one answered last
}

// again waits before the next try, or says why there is none: an answer that comes
// before the wait's own time is over is not its end (a daemon that stops or makes
// way for the next one answers all that wait), and a daemon that went away is
// waited for as long as the client has time.
func (p *patience) again(ctx context.Context, err error) error {
	switch {
	case err == nil:
		p.silent = time.Time{}
	case !p.client.isTransient(err):
		return p.named(err)
	case p.silent.IsZero():
		p.silent = time.Now()
	}
	if !p.silent.IsZero() {
		since := time.Since(p.silent)
		if p.client.Timeout > 0 && since > p.client.Timeout {
			return p.named(err)
		}
		if since > slowTime {
			p.client.tellWaiting(err.Error())
		}
	}
	return p.pauses.pause(ctx)
}

// named is an error of a wait for a job that was accepted, whatever it says of the
// daemon.
func (p *patience) named(err error) error {
	e, ok := errors.AsType[*ipc.Error](err)
	if !ok || e.Kind != ipc.KindNoAnswer && e.Kind != ipc.KindUnavailable || !p.client.reached.Load() {
		return err
	}
	e.Job, e.Suggestion = p.id, "job "+p.id+" is accepted; dispatchctl wait "+p.id+" waits for it again"
	return e
}

// Await waits for a job's end until ctx is done; then its error is ctx's. It
// polls in requests of pollTime each. When the daemon goes down meanwhile, it asks
// again until one answers. A daemon that was never reached is an error at once.
func (c *Client) Await(ctx context.Context, id string) (ipc.Job, error) {
	p := patience{client: c, id: id}
	poll := request{method: http.MethodGet, path: jobPath(id) + "?wait=" + pollTime.String(), waits: pollTime}
	for {
		asked := time.Now()
		job, err := call[ipc.Job](ctx, c, poll)
		switch {
		case err == nil && job.State.Final():
			return job, nil
		case err == nil && time.Since(asked) >= maxPause:
			p = patience{client: c, id: id} // a poll has run its time: the daemon works
			continue
		}
		if err := p.again(ctx, err); err != nil {
			return job, err
		}
	}
}

// Hold waits for a job's end as Await does, and binds the job's life to this
// program's: when the program ends before, or ctx is done, the daemon cancels
// the job, unless others have joined it. A job that was asked for with Bound is
// bound from the start, but for the moment between the answer and Hold.
func (c *Client) Hold(ctx context.Context, id string) (ipc.Job, error) {
	p := patience{client: c, id: id}
	hold := request{method: http.MethodPost, path: jobPath(id) + "/hold", waits: forEver}
	for {
		job, err := call[ipc.Job](ctx, c, hold)
		if err == nil && job.State.Final() {
			return job, nil
		}
		if err := p.again(ctx, err); err != nil {
			return job, err
		}
	}
}

// withRetries sends a request with a key again when the connection broke off and
// the daemon may have done it or not: the key makes that harmless. It sends a
// request without a key once.
func withRetries[T any](ctx context.Context, c *Client, key string, ask func() (T, error)) (T, error) {
	if strings.ContainsFunc(key, unicode.IsControl) {
		var none T
		return none, ipc.Errorf(ipc.KindBadRequest, "idempotency key %.130q: control characters are not allowed", key)
	}
	v, err := ask()
	if key == "" {
		return v, err
	}
	pausing, cancel := context.WithTimeout(ctx, retryTime)
	defer cancel()
	var p backoff
	for {
		e, ok := errors.AsType[*ipc.Error](err)
		if !ok || e.Kind != ipc.KindUnavailable || !c.reached.Load() || p.pause(pausing) != nil {
			return v, err
		}
		v, err = ask()
	}
}

// keyHeader is a header with an idempotency key, nil without one.
func keyHeader(key string) http.Header {
	if key == "" {
		return nil
	}
	return http.Header{"Idempotency-Key": {key}}
}

// Notify asks for a run of a dispatcher. With an idempotency key it asks again
// when the connection breaks off before the answer.
func (c *Client) Notify(ctx context.Context, req ipc.NotifyRequest) (ipc.Notified, error) {
	var body []byte
	if len(req.Arguments) > 0 {
		body = append(append([]byte(`{"arguments":`), req.Arguments...), '}')
	}
	bound := ""
	if req.Bound {
		bound = "?bound=true"
	}
	return withRetries(ctx, c, req.IdempotencyKey, func() (ipc.Notified, error) {
		return call[ipc.Notified](ctx, c, request{
			method: http.MethodPost, path: dispatcherPath(req.Dispatcher) + "/notify" + bound, body: body, header: keyHeader(req.IdempotencyKey),
		})
	})
}

// Retry asks for a new job like an ended one; with a key as Notify does.
func (c *Client) Retry(ctx context.Context, id, key string) (ipc.Notified, error) {
	return withRetries(ctx, c, key, func() (ipc.Notified, error) {
		return call[ipc.Notified](ctx, c, request{method: http.MethodPost, path: jobPath(id) + "/retry", header: keyHeader(key)})
	})
}
