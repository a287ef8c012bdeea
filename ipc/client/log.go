package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Log reads a job's output from a byte on; with follow until the job has ended.
// When the daemon goes down meanwhile, it asks the next one for the rest. Of
// output that is longer than what is kept, the note on the bytes left out may
// then come twice.
func (c *Client) Log(ctx context.Context, id string, from int64, follow bool) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	o := &output{ctx: ctx, cancel: cancel, client: c, id: id, at: from, follow: follow, tries: patience{client: c, id: id}}
	if err := o.open(); err != nil {
		cancel()
		return nil, err
	}
	return o, nil
}

// output is a job's output as it comes.
type output struct {
	ctx    context.Context
	cancel context.CancelFunc
	client *Client
	id     string
	follow bool
	at     int64
	tries  patience

	mu   sync.Mutex // Close may be called while Read waits
	body io.ReadCloser
}

// request asks for the output from the next byte on.
func (o *output) request() request {
	return request{method: http.MethodGet, path: fmt.Sprintf("%s/log?from=%d&follow=%t", jobPath(o.id), o.at, o.follow)}
}

// open asks for the output from the next byte on.
func (o *output) open() error {
	resp, err := o.client.send(o.ctx, o.request()) //nolint:bodyclose // Close does it, and whoever opens anew
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.body = resp.Body
	return nil
}

// current is the answer that is being read.
func (o *output) current() io.ReadCloser {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.body
}

// Read is io.Reader's.
func (o *output) Read(b []byte) (int, error) {
	for {
		n, err := o.current().Read(b)
		o.at += int64(n)
		if n > 0 {
			o.tries = patience{client: o.client, id: o.id}
		}
		switch {
		case err == nil || err == io.EOF:
			return n, err
		case o.ctx.Err() != nil:
			return n, o.ctx.Err()
		case !o.follow:
			return n, o.client.unreachable(o.ctx, nil, o.request(), err)
		case n > 0:
			return n, nil // the next Read fails the same way
		}
		if err := o.reopen(o.client.unreachable(o.ctx, nil, o.request(), err)); err != nil {
			return 0, err
		}
	}
}

// reopen asks until a daemon answers; broken is why the last answer ended.
func (o *output) reopen(broken error) error {
	_ = o.current().Close()
	err := broken
	for err != nil {
		if err := o.tries.again(o.ctx, err); err != nil {
			return err
		}
		err = o.open()
	}
	return nil
}

// Close is io.Closer's.
func (o *output) Close() error {
	o.cancel()
	return o.current().Close()
}
