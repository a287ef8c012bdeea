package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"dispatchd/ipc"
)

// memory is a Backend that lives in a test: jobs end when the test says so, and
// each method fails when the test says so.
type memory struct {
	mu     sync.Mutex
	jobs   []*entry
	calls  []call
	listed []ipc.Job // what a listing gives, oldest first
	fail   map[string]error

	cached ipc.CacheData // with data as its Data
	data   string

	waits chan string // names each wait that begins
	left  chan string // and each that ends
	idle  chan struct{}
}

// call is one call that changes something, or carries arguments.
type call struct {
	Method, Arg string
	By          ipc.Peer
	Request     ipc.NotifyRequest
	Filter      ipc.JobFilter
}

// entry is one job with its output.
type entry struct {
	job   ipc.Job
	ended chan struct{}
	out   io.ReadCloser
}

func newMemory() *memory {
	return &memory{
		data: "{}", cached: ipc.CacheData{Cache: ipc.Cache{Format: "json", Size: 2, ETag: `"tag"`, Fresh: true}},
		fail: map[string]error{}, waits: make(chan string, 100), left: make(chan string, 100), idle: make(chan struct{}),
	}
}

// note records a call and gives the error that the test wants of it.
func (m *memory) note(ctx context.Context, c call) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, c)
	if err := m.fail[c.Method]; err != nil {
		return err
	}
	return ctx.Err()
}

// last is the last call.
func (m *memory) last() call {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.calls) == 0 {
		return call{}
	}
	return m.calls[len(m.calls)-1]
}

// add makes a job.
func (m *memory) add(state ipc.State) *entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := &entry{job: ipc.Job{ID: fmt.Sprintf("J%d", len(m.jobs)+1), Dispatcher: "d", State: state}, ended: make(chan struct{})}
	if state.Final() {
		close(e.ended)
	}
	m.jobs = append(m.jobs, e)
	return e
}

// end ends a job that has not ended.
func (m *memory) end(e *entry, state ipc.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.job.State.Final() {
		return
	}
	e.job.State = state
	close(e.ended)
}

func (m *memory) find(id string) (*entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.jobs {
		if e.job.ID == id {
			return e, nil
		}
	}
	return nil, ipc.Errorf(ipc.KindJobUnknown, "no job is named %.40q", id)
}

func (m *memory) view(e *entry) ipc.Job {
	m.mu.Lock()
	defer m.mu.Unlock()
	return e.job
}

func (m *memory) Notify(ctx context.Context, by ipc.Peer, req ipc.NotifyRequest) (ipc.Notified, error) {
	if err := m.note(ctx, call{Method: "Notify", By: by, Request: req}); err != nil {
		return ipc.Notified{}, err
	}
	e := m.add(ipc.Queued)
	return ipc.Notified{Job: m.view(e), Position: 1}, nil
}

func (m *memory) Job(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	if err := m.note(ctx, call{Method: "Job", By: by, Arg: id}); err != nil {
		return ipc.Job{}, err
	}
	e, err := m.find(id)
	if err != nil {
		return ipc.Job{}, err
	}
	return m.view(e), nil
}

func (m *memory) Await(ctx context.Context, _ ipc.Peer, id string) (ipc.Job, error) {
	e, err := m.find(id)
	if err != nil {
		return ipc.Job{}, err
	}
	m.waits <- "Await"
	select {
	case <-e.ended:
	case <-ctx.Done():
		m.left <- "Await"
	}
	return m.view(e), nil
}

func (m *memory) Jobs(ctx context.Context, by ipc.Peer, f ipc.JobFilter) ([]ipc.Job, error) {
	if err := m.note(ctx, call{Method: "Jobs", By: by, Filter: f}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []ipc.Job
	for _, e := range slices.Backward(m.listed) {
		if (f.Before == "" || e.ID < f.Before) && len(list) < f.Limit {
			list = append(list, e)
		}
	}
	return list, nil
}

func (m *memory) Log(ctx context.Context, by ipc.Peer, id string, from int64, follow bool) (io.ReadCloser, error) {
	if err := m.note(ctx, call{Method: "Log", By: by, Arg: fmt.Sprintf("%s %d %t", id, from, follow)}); err != nil {
		return nil, err
	}
	e, err := m.find(id)
	if err != nil {
		return nil, err
	}
	if e.out == nil {
		return io.NopCloser(strings.NewReader("output\n")), nil
	}
	return &follower{ReadCloser: e.out, ctx: ctx, m: m}, nil
}

// follower is an output that goes on: it waits for more until the client goes
// away, and says so when it is closed.
type follower struct {
	io.ReadCloser
	ctx context.Context
	m   *memory
}

func (f *follower) Read(b []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	got := make(chan result, 1)
	go func() {
		n, err := f.ReadCloser.Read(b)
		got <- result{n, err}
	}()
	select {
	case r := <-got:
		return r.n, r.err
	case <-f.ctx.Done():
		_ = f.ReadCloser.Close()
		<-got
		return 0, io.EOF
	}
}

func (f *follower) Close() error {
	f.m.left <- "Log"
	return f.ReadCloser.Close()
}

func (m *memory) Cancel(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	if err := m.note(ctx, call{Method: "Cancel", By: by, Arg: id}); err != nil {
		return ipc.Job{}, err
	}
	e, err := m.find(id)
	if err != nil {
		return ipc.Job{}, err
	}
	m.end(e, ipc.Canceled)
	return m.view(e), nil
}

func (m *memory) Hold(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	if err := m.note(ctx, call{Method: "Hold", By: by, Arg: id}); err != nil {
		return ipc.Job{}, err
	}
	e, err := m.find(id)
	if err != nil {
		return ipc.Job{}, err
	}
	return m.view(e), nil
}

func (m *memory) CancelIfAbandoned(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error) {
	if err := m.note(ctx, call{Method: "CancelIfAbandoned", By: by, Arg: id}); err != nil {
		return ipc.Job{}, err
	}
	return m.Cancel(ctx, by, id)
}

func (m *memory) Retry(ctx context.Context, by ipc.Peer, id, key string) (ipc.Notified, error) {
	if err := m.note(ctx, call{Method: "Retry", By: by, Arg: id + " " + key}); err != nil {
		return ipc.Notified{}, err
	}
	return ipc.Notified{Job: m.view(m.add(ipc.Queued)), Position: 1}, nil
}

func (m *memory) Dispatchers(ctx context.Context, by ipc.Peer) ([]ipc.Dispatcher, error) {
	return nil, m.note(ctx, call{Method: "Dispatchers", By: by})
}

func (m *memory) Dispatcher(ctx context.Context, by ipc.Peer, name string) (ipc.Dispatcher, error) {
	return ipc.Dispatcher{Name: name}, m.note(ctx, call{Method: "Dispatcher", By: by, Arg: name})
}

func (m *memory) Pause(ctx context.Context, by ipc.Peer, name string, paused bool) (ipc.Dispatcher, error) {
	return ipc.Dispatcher{Name: name}, m.note(ctx, call{Method: "Pause", By: by, Arg: fmt.Sprintf("%s %t", name, paused)})
}

func (m *memory) Locks(ctx context.Context, by ipc.Peer) ([]ipc.Lock, error) {
	return nil, m.note(ctx, call{Method: "Locks", By: by})
}

func (m *memory) Schedule(ctx context.Context, by ipc.Peer, q ipc.ScheduleQuery) ([]ipc.Schedule, error) {
	return nil, m.note(ctx, call{Method: "Schedule", By: by, Arg: fmt.Sprintf("%s %d", q.Dispatcher, q.Next)})
}

func (m *memory) Caches(ctx context.Context, by ipc.Peer) ([]ipc.Cache, error) {
	return nil, m.note(ctx, call{Method: "Caches", By: by})
}

func (m *memory) Cache(ctx context.Context, by ipc.Peer, name string, q ipc.CacheQuery) (ipc.CacheData, error) {
	text, _ := json.Marshal(q)
	d := m.cached
	d.Data = io.NopCloser(strings.NewReader(m.data))
	return d, m.note(ctx, call{Method: "Cache", By: by, Arg: name + " " + string(text)})
}

func (m *memory) Status(ctx context.Context, by ipc.Peer) (ipc.Status, error) {
	return ipc.Status{Version: "memory"}, m.note(ctx, call{Method: "Status", By: by})
}

func (m *memory) Health(ctx context.Context, by ipc.Peer) (ipc.Health, error) {
	return ipc.Health{Status: "ok"}, m.note(ctx, call{Method: "Health", By: by})
}

func (m *memory) Reload(ctx context.Context, by ipc.Peer, dry bool) (ipc.Reload, error) {
	return ipc.Reload{}, m.note(ctx, call{Method: "Reload", By: by, Arg: fmt.Sprint(dry)})
}

func (m *memory) Drain(ctx context.Context, by ipc.Peer, on bool) (ipc.Status, error) {
	return ipc.Status{Draining: on}, m.note(ctx, call{Method: "Drain", By: by, Arg: fmt.Sprint(on)})
}

func (m *memory) Upgrade(ctx context.Context, by ipc.Peer) (ipc.Upgrade, error) {
	return ipc.Upgrade{From: "1", To: "2"}, m.note(ctx, call{Method: "Upgrade", By: by})
}

func (m *memory) AwaitIdle(ctx context.Context, _ ipc.Peer) error {
	m.waits <- "AwaitIdle"
	select {
	case <-m.idle:
		return nil
	case <-ctx.Done():
		m.left <- "AwaitIdle"
		return ctx.Err()
	}
}

// called reports whether a method was called.
func (m *memory) called(method string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.calls, func(c call) bool { return c.Method == method })
}
