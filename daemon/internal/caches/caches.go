package caches

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// Refresher is the daemon's side of a refresh. Each method is one trip to its loop.
type Refresher interface {
	// Refresh gives the job that refreshes a cache: one that is under way, or one that
	// it submits. It submits none, and gives "", while the last refresh has failed and
	// is not to be tried yet, and where newer reports that there is new data. newer is
	// called on the loop. The job is durable, or the error says why there is none.
	Refresh(ctx context.Context, by ipc.Peer, s *dispatchers.Spec, newer func() bool) (job string, err error)
	// Await waits for a job's end, and gives its state then or when ctx is done.
	Await(ctx context.Context, by ipc.Peer, job string) (ipc.State, error)
	// Standing says how the refreshes of these caches stand, in their order.
	Standing(ctx context.Context, names ...string) ([]Standing, error)
}

// Standing is how the refreshes of a cache stand.
type Standing struct {
	Refreshing string          // the job that is under way, "" = none
	Failed     *ipc.CacheError // why the last one failed, nil = it did not
}

// Caches are the caches of a daemon. Any number of readers may use them.
type Caches struct {
	files   *store.Caches
	refresh Refresher
	access  Access
}

// Access says who may read the file of a cache beside the daemon.
type Access func(c *dispatchers.Cache) (store.Access, error)

// New makes the caches whose data is in files.
func New(files *store.Caches, r Refresher, who Access) *Caches {
	return &Caches{files: files, refresh: r, access: who}
}

// data is what the file of a cache holds, and for whom.
func (c *Caches) data(s *dispatchers.Spec) (store.Data, error) {
	access, err := c.access(s.Cache)
	return store.Data{Name: s.Name, Format: s.Cache.Format, MaxSize: s.Cache.MaxSize, Access: access}, err
}

// Protect lets nobody else read the file of a cache than its definition says.
func (c *Caches) Protect(s *dispatchers.Spec) error {
	data, err := c.data(s)
	if err != nil {
		return err
	}
	return c.files.Protect(data)
}

// Part is the file that an attempt to refresh a cache writes to.
func (c *Caches) Part(s *dispatchers.Spec, attempt string) string {
	return c.files.Part(s.Name, attempt)
}

// Keep puts what an attempt that began then has written in the cache's place, with
// one rename and durably. The error is an *ipc.Error that says why it is no data;
// the last good data stays then. The part is gone either way.
func (c *Caches) Keep(s *dispatchers.Spec, part string, began time.Time) error {
	data, err := c.data(s)
	if err == nil {
		err = c.files.Replace(data, part, began)
	} else {
		c.Drop(part)
	}
	if _, typed := errors.AsType[*ipc.Error](err); err != nil && !typed {
		err = ipc.Errorf(ipc.KindInternal, "%v", err)
	}
	return err
}

// KeepDir makes the directory of the data where it is missing, and reports whether it
// was.
func (c *Caches) KeepDir() (again bool, err error) { return c.files.Keep() }

// Drop removes the part of an attempt that has not succeeded.
func (c *Caches) Drop(part string) { _ = os.Remove(part) }

// List gives all caches among these dispatchers, in their order. One whose file
// cannot be read says so, and the others are listed all the same.
func (c *Caches) List(ctx context.Context, specs []*dispatchers.Spec) ([]ipc.Cache, error) {
	list := []ipc.Cache{}
	broken := []error{}
	var names []string
	for _, s := range specs {
		if s == nil || s.Cache == nil {
			continue
		}
		data, err := c.open(s)
		list, broken, names = append(list, c.view(s, data)), append(broken, err), append(names, s.Name)
		if data != nil {
			_ = data.Close()
		}
	}
	standings, err := c.refresh.Standing(ctx, names...)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].Refreshing, list[i].Error = standings[i].Refreshing, standings[i].Failed
		if broken[i] != nil {
			list[i].Error = &ipc.CacheError{Kind: ipc.KindInternal, Message: broken[i].Error(), At: time.Now().UTC()}
		}
	}
	return list, nil
}

// view is how a cache stands; data is what it holds, nil = it is empty.
func (c *Caches) view(s *dispatchers.Spec, data *store.Cached) ipc.Cache {
	v := ipc.Cache{
		Name: s.Name, Description: s.Description, Format: s.Cache.Format,
		Path: c.files.Path(s.Name, s.Cache.Format), MaxAge: int64(s.Cache.MaxAge / time.Second),
	}
	if data != nil {
		at, age := data.At.UTC(), ageOf(data)
		v.Size, v.ETag, v.RefreshedAt, v.Age = data.Size, data.ETag, &at, int64(age/time.Second)
		v.FromFuture = store.FromFuture(data.At, time.Now())
		v.Fresh = s.Cache.MaxAge == 0 || age <= s.Cache.MaxAge && !v.FromFuture
	}
	return v
}

// open opens a cache's data; nil = it is empty.
func (c *Caches) open(s *dispatchers.Spec) (*store.Cached, error) {
	data, err := c.files.Open(s.Name, s.Cache.Format)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// newer reports whether the cache has other data than the reader has seen; seen is
// nil for a reader that found it empty. It compares the file's time alone, and not
// by which is later: the clock may have been set back. It is called on the loop,
// which must not read 16 MiB to hash them.
func (c *Caches) newer(s *dispatchers.Spec, seen *store.Cached) bool {
	fi, err := os.Stat(c.files.Path(s.Name, s.Cache.Format))
	return err == nil && (seen == nil || !fi.ModTime().Equal(seen.At))
}

// ageOf is how old data is: nothing is younger than new. Data from the future has no
// age, and is stale (FromFuture): a wrong clock has left it, and would keep it fresh
// until its time comes.
func ageOf(data *store.Cached) time.Duration { return max(0, time.Since(data.At)) }

// Failure words how a refresh failed, for its Backoff. why is the job's error, nil =
// its state says all.
func Failure(job string, state ipc.State, why *ipc.JobError, at time.Time) ipc.CacheError {
	e := ipc.CacheError{Kind: ipc.KindInternal, Message: string(state), Job: job, At: at.UTC()}
	if why != nil {
		e.Kind, e.Message = cmp.Or(why.Kind, e.Kind), why.Message
	}
	return e
}
