package jobs

import (
	"slices"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/store"
	"dispatchd/ipc"
)

// Book is State in its old shape: records are durable as soon as they are
// applied, and jobs are given out as their records say. Package daemon uses it
// until it has moved to Job, Dispatcher and Gate; it goes then.
type Book struct{ *State }

// NewBook makes an empty book.
func NewBook(keep store.Retention) *Book { return &Book{New(keep)} }

// Apply folds one record in, and gives the job as it is now.
func (b *Book) Apply(r store.Record) (*store.Job, error) {
	_, j, err := b.change(r)
	if err != nil || j == nil {
		return nil, err
	}
	if j.state.State.Final() {
		delete(b.jobs, j.ID())
	}
	return j.state, nil
}

// Job finds an open or ended job.
func (b *Book) Job(id ulid.ULID) (*store.Job, bool) {
	if j, ok := b.State.Job(id); ok {
		return j.state, true
	}
	return nil, false
}

// Find finds the job with an id, or with the only id that starts so.
func (b *Book) Find(prefix string) (*store.Job, error) {
	j, err := b.State.Find(prefix)
	if err != nil {
		return nil, err
	}
	return j.state, nil
}

// List gives jobs, newest first.
func (b *Book) List(f ipc.JobFilter) []*store.Job {
	var list []*store.Job
	for _, j := range b.State.List(f) {
		list = append(list, j.state)
	}
	return list
}

// Open lists the open jobs in order of acceptance.
func (b *Book) Open() []*store.Job { return slices.Collect(b.openStates()) }

// LastID is the greatest id of a job that was known.
func (b *Book) LastID() ulid.ULID { return b.lastID }

// Cursor gives where a dispatcher's schedule stood last.
func (b *Book) Cursor(name string) (store.Cursor, bool) {
	if d := b.dispatchers[name]; d != nil && d.Cursor != nil {
		return *d.Cursor, true
	}
	return store.Cursor{}, false
}

// Key finds the job of an idempotency key.
func (b *Book) Key(k store.Key) (ulid.ULID, string, bool) {
	key, ok := b.State.Key(k)
	if !ok {
		return ulid.ULID{}, "", false
	}
	return key.Job, key.Hash, true
}

// Forget withdraws an accepted job, also one that was canceled meanwhile.
func (b *Book) Forget(id ulid.ULID) {
	b.Withdraw(id)
	b.archive.remove(id)
	for k, key := range b.keys {
		if key.Job == id {
			delete(b.keys, k)
		}
	}
}

// Whole is the state with all its jobs.
func (b *Book) Whole() store.Snapshot { return b.State.Snapshot() }

// Snapshot is Whole without the open jobs that are kept in memory.
func (b *Book) Snapshot() store.Snapshot { return b.Whole().WithoutVolatile() }
