package server

import (
	"context"
	"io"

	"dispatchd/ipc"
)

// Backend is the daemon as the API sees it. Its errors are *ipc.Error. Each
// method gets the peer that the kernel named, reads and lists too, and refuses a
// peer that may not do it: with what it decides on, in the same step as the deed.
type Backend interface {
	Notify(ctx context.Context, by ipc.Peer, req ipc.NotifyRequest) (ipc.Notified, error)
	Job(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error)
	// Await returns the job when it has ended, or as it is when ctx is done.
	Await(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error)
	// Jobs lists jobs, newest first. With large fields it may give fewer than were
	// asked for, but one at least where there are any.
	Jobs(ctx context.Context, by ipc.Peer, f ipc.JobFilter) ([]ipc.Job, error)
	Log(ctx context.Context, by ipc.Peer, id string, from int64, follow bool) (io.ReadCloser, error)
	Cancel(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error)
	// Hold gives a job to a caller who is about to bind its life to his own.
	Hold(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error)
	// CancelIfAbandoned ends a job whose holder went away, unless others have
	// joined it or it has ended.
	CancelIfAbandoned(ctx context.Context, by ipc.Peer, id string) (ipc.Job, error)
	Retry(ctx context.Context, by ipc.Peer, id, key string) (ipc.Notified, error)
	Dispatchers(ctx context.Context, by ipc.Peer) ([]ipc.Dispatcher, error)
	Dispatcher(ctx context.Context, by ipc.Peer, name string) (ipc.Dispatcher, error)
	Pause(ctx context.Context, by ipc.Peer, name string, paused bool) (ipc.Dispatcher, error)
	Locks(ctx context.Context, by ipc.Peer) ([]ipc.Lock, error)
	Status(ctx context.Context, by ipc.Peer) (ipc.Status, error)
	Health(ctx context.Context, by ipc.Peer) (ipc.Health, error)
	Reload(ctx context.Context, by ipc.Peer, dry bool) (ipc.Reload, error)
	Drain(ctx context.Context, by ipc.Peer, on bool) (ipc.Status, error)
	Upgrade(ctx context.Context, by ipc.Peer) (ipc.Upgrade, error)
	AwaitIdle(ctx context.Context, by ipc.Peer) error
	Schedule(ctx context.Context, by ipc.Peer, q ipc.ScheduleQuery) ([]ipc.Schedule, error)
	Caches(ctx context.Context, by ipc.Peer) ([]ipc.Cache, error)
	// Cache waits for a refresh as long as the query says. Its caller closes the data.
	Cache(ctx context.Context, by ipc.Peer, name string, q ipc.CacheQuery) (ipc.CacheData, error)
}
