package server

import (
	"context"
	"io"

	"dispatchd/ipc"
)

// Backend is the daemon as the API sees it. Its errors are *ipc.Error.
type Backend interface {
	Notify(ctx context.Context, by ipc.Peer, req ipc.NotifyRequest) (ipc.Notified, error)
	Job(ctx context.Context, id string) (ipc.Job, error)
	// Await returns the job when it has ended, or as it is when ctx is done.
	Await(ctx context.Context, id string) (ipc.Job, error)
	Jobs(ctx context.Context, f ipc.JobFilter) ([]ipc.Job, error)
	Log(ctx context.Context, id string, from int64, follow bool) (io.ReadCloser, error)
	Cancel(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error)
	Retry(ctx context.Context, by ipc.Peer, id, key string) (ipc.Notified, error)
	Dispatchers(ctx context.Context) ([]ipc.Dispatcher, error)
	Dispatcher(ctx context.Context, name string) (ipc.Dispatcher, error)
	Pause(ctx context.Context, by ipc.Peer, name string, paused bool) (ipc.Dispatcher, error)
	Locks(ctx context.Context) ([]ipc.Lock, error)
	Status(ctx context.Context) (ipc.Status, error)
	Health(ctx context.Context) (ipc.Health, error)
	Reload(ctx context.Context, by ipc.Peer, dry bool) (ipc.Reload, error)
	Drain(ctx context.Context, by ipc.Peer, on bool) (ipc.Status, error)
	Upgrade(ctx context.Context, by ipc.Peer) (ipc.Upgrade, error)
	AwaitIdle(ctx context.Context) error
	Schedule(ctx context.Context, q ipc.ScheduleQuery) ([]ipc.Schedule, error)
	Caches(ctx context.Context) ([]ipc.Cache, error)
	// Cache waits for a refresh as long as the query says. Its caller closes the data.
	Cache(ctx context.Context, by ipc.Peer, name string, q ipc.CacheQuery) (ipc.CacheData, error)
}
