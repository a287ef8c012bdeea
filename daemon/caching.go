package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/proc"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// A refresh that fails is not tried again by readers for a time that doubles.
const (
	refreshPause    = 5 * time.Second
	refreshPauseMax = 5 * time.Minute
)

// failing is a cache whose last refresh failed.
type failing struct {
	times int
	until time.Duration // on the queue's clock: readers have nothing tried before
	err   ipc.CacheError
}

// openCaches opens the directory of cache files. What is left there by attempts
// that nobody follows any more is removed.
func (e *engine) openCaches() error {
	caches, err := store.NewCaches(e.cfg.Paths.Cache, func(attempt string) bool {
		id, err := ulid.ParseStrict(strings.SplitN(attempt, "-", 2)[0])
		if err != nil {
			return false
		}
		job, ok := e.book.Job(id)
		return ok && !job.State.Final()
	})
	e.caches = caches
	if err != nil {
		return err
	}
	return ownedDir(e.cfg.Paths.Cache)
}

// partOf is where a run writes its cache's data to, "" when it has none.
func (e *engine) partOf(spec *dispatchers.Spec, marks proc.AttemptFiles) string {
	if spec.Cache == nil {
		return ""
	}
	return e.caches.Part(spec.Name, filepath.Base(string(marks)))
}

// keepData puts what a successful run printed in its cache's place before
// anybody is told of its end. A run whose output is no data has failed.
func (e *engine) keepData(r *run, exit proc.Exit) proc.Exit {
	part := e.partOf(r.spec, r.marks)
	if part == "" {
		return exit
	}
	if !exit.Exited() || exit.TimedOut || exit.Canceled || !slices.Contains(r.spec.SuccessExitCodes, exit.Code) {
		_ = os.Remove(part)
		return exit
	}
	c := r.spec.Cache
	err := e.caches.Replace(r.spec.Name, c.Format, part, c.MaxSize, exit.Started)
	if _, typed := errors.AsType[*ipc.Error](err); err != nil && !typed {
		err = ipc.Errorf(ipc.KindInternal, "%v", err)
	}
	exit.Err = err
	return exit
}

// refreshed notes how a refresh of a cache ended.
func (e *engine) refreshed(job *store.Job, state ipc.State, out *store.Run) {
	name := job.Dispatcher
	spec := e.specOf(name)
	if spec == nil || spec.Cache == nil {
		return
	}
	if state == ipc.Succeeded {
		delete(e.failings, name)
		return
	}
	f := e.failings[name]
	if f == nil {
		f = &failing{}
		e.failings[name] = f
	}
	pause := min(refreshPause<<min(f.times, 10), refreshPauseMax)
	f.times++
	f.until = e.now() + pause
	f.err = ipc.CacheError{Kind: ipc.KindInternal, Message: string(state), Job: job.ID.String(), At: time.Unix(0, out.EndedAt).UTC()}
	if out.Error != nil {
		f.err.Kind, f.err.Message = out.Error.Kind, out.Error.Message
	}
}

// recallFailures finds the caches whose last refresh failed before this daemon.
func (e *engine) recallFailures() {
	for name, spec := range e.catalog.Load().Specs {
		if spec.Cache == nil {
			continue
		}
		for _, job := range e.book.List(ipc.JobFilter{Dispatcher: name, Limit: 1}) {
			if job.State.Final() && job.State != ipc.Succeeded && job.Run != nil {
				e.refreshed(job, job.State, job.Run)
			}
		}
	}
}

// cacheView is how a cache stands; data is what it holds, nil = nothing.
func (e *engine) cacheView(spec *dispatchers.Spec, data *store.Cached) ipc.Cache {
	v := ipc.Cache{
		Name: spec.Name, Description: spec.Description, Format: spec.Cache.Format,
		Path: e.caches.Path(spec.Name, spec.Cache.Format), MaxAge: int64(spec.Cache.MaxAge / time.Second),
	}
	if data != nil {
		at, age := data.At.UTC(), ageOf(data)
		v.Size, v.ETag, v.RefreshedAt, v.Age = data.Size, data.ETag, &at, int64(age/time.Second)
		v.Fresh = spec.Cache.MaxAge == 0 || age <= spec.Cache.MaxAge
	}
	return v
}

// ageOf is how old data is; a clock that was set back makes nothing younger
// than new.
func ageOf(data *store.Cached) time.Duration { return max(0, time.Since(data.At)) }

// openCache opens a cache's data; nil when it is empty.
func (e *engine) openCache(spec *dispatchers.Spec) (*store.Cached, error) {
	data, err := e.caches.Open(spec.Name, spec.Cache.Format)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// addLive adds what only the loop knows: the refresh under way, and the failure
// of the last one.
func (e *engine) addLive(ctx context.Context, v *ipc.Cache) error {
	return e.do(ctx, func() {
		v.Refreshing = e.refreshing(v.Name)
		if f := e.failings[v.Name]; f != nil {
			failed := f.err
			failed.RetryAfter = int(max(0, f.until-e.now()+time.Second-1) / time.Second)
			v.Error = &failed
		}
	})
}

// refreshing is the job that refreshes a cache now, or is about to; "" = none.
func (e *engine) refreshing(name string) string {
	for _, r := range e.runs {
		if r.spec.Name == name {
			return r.job.ID.String()
		}
	}
	if id, _, ok := e.core.Head(name); ok {
		return ulid.ULID(id).String()
	}
	return ""
}

// Caches lists all caches.
func (e *engine) Caches(ctx context.Context, by ipc.Peer) ([]ipc.Cache, error) {
	if err := e.permitted(ctx, query{Verb: server.VerbRead, Peer: by}, func() {}); err != nil {
		return nil, err
	}
	list := []ipc.Cache{}
	c := e.catalog.Load()
	for _, name := range c.Names() {
		spec := c.Specs[name]
		if spec == nil || spec.Cache == nil {
			continue
		}
		data, broken := e.openCache(spec)
		v := e.cacheView(spec, data)
		if data != nil {
			_ = data.Close()
		}
		if err := e.addLive(ctx, &v); err != nil {
			return nil, err
		}
		if broken != nil { // the others can be read
			v.Error = &ipc.CacheError{Kind: ipc.KindInternal, Message: broken.Error(), At: time.Now().UTC()}
		}
		list = append(list, v)
	}
	return list, nil
}

// Cache gives a cache's data, as fresh as it is asked for.
func (e *engine) Cache(ctx context.Context, by ipc.Peer, name string, q ipc.CacheQuery) (ipc.CacheData, error) {
	spec, err := e.lookup(name)
	if err != nil {
		return ipc.CacheData{}, err
	}
	if err := e.allow(query{Verb: server.VerbRead, Peer: by, Dispatcher: spec}); err != nil {
		return ipc.CacheData{}, err // a fresh file is read without the loop
	}
	if spec.Cache == nil {
		p := ipc.Errorf(ipc.KindCacheUnknown, "dispatcher %s keeps no cache", name)
		p.Dispatcher, p.Suggestion = name, "its file has no [cache]; list those that have one with: dispatchctl cache list"
		return ipc.CacheData{}, p
	}
	data, err := e.openCache(spec)
	if err != nil {
		return ipc.CacheData{}, err
	}
	r := reading{e: e, spec: spec, by: by, q: q, data: data, v: e.cacheView(spec, data)}
	if r.good() {
		return r.give(), nil
	}
	return r.renew(ctx)
}

// reading is a reader's request for a cache's data.
type reading struct {
	e    *engine
	spec *dispatchers.Spec
	by   ipc.Peer
	q    ipc.CacheQuery
	data *store.Cached // nil = empty
	v    ipc.Cache
}

// good reports whether what is there is young enough.
func (r *reading) good() bool {
	switch {
	case r.data == nil:
		return false
	case r.q.MaxAge != nil:
		return ageOf(r.data) <= *r.q.MaxAge
	}
	return r.v.Fresh
}

// give hands the data over.
func (r *reading) give() ipc.CacheData {
	if slices.Contains(tagsIn(r.q.IfNoneMatch), r.v.ETag) {
		_ = r.data.Close()
		return ipc.CacheData{Cache: r.v, NotModified: true}
	}
	return ipc.CacheData{Cache: r.v, Data: r.data}
}

// tagsIn are the entity tags of a header; weakness makes no difference here.
func tagsIn(header string) []string {
	var tags []string
	for t := range strings.SplitSeq(header, ",") {
		tags = append(tags, strings.TrimPrefix(strings.TrimSpace(t), "W/"))
	}
	return tags
}

// renew has the cache refreshed, once for all readers, and gives what comes of
// it, what there is meanwhile, or the reason why there is nothing.
func (r *reading) renew(ctx context.Context) (ipc.CacheData, error) {
	f, refused := r.e.refresh(ctx, r.by, r.spec, r.data)
	if r.q.Wait > 0 && f.job != "" {
		f.newer = r.await(ctx, f.job)
	}
	var err error
	if f.newer {
		r.close()
		if r.data, err = r.e.openCache(r.spec); err == nil && r.data != nil {
			r.v = r.e.cacheView(r.spec, r.data)
			return r.give(), nil
		}
	}
	if err == nil {
		err = r.e.addLive(ctx, &r.v)
	}
	if err == nil && r.data != nil && r.staleOK() {
		r.v.Fresh = false
		return r.give(), nil
	}
	defer r.close()
	if err == nil {
		err = r.nothing(f.job, refused)
	}
	return ipc.CacheData{}, err
}

// await waits for a refresh and reports whether it brought data.
func (r *reading) await(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(ctx, r.q.Wait)
	defer cancel()
	job, err := r.e.Await(ctx, r.by, id)
	return err == nil && job.State == ipc.Succeeded
}

// staleOK reports whether old data is better than none.
func (r *reading) staleOK() bool {
	if r.q.StaleOK != nil {
		return *r.q.StaleOK
	}
	return r.spec.Cache.StaleOK
}

// nothing says why a reader gets no data.
func (r *reading) nothing(id string, refused error) error {
	var p *ipc.Error
	if r.data == nil {
		p = ipc.Errorf(ipc.KindCacheEmpty, "cache %s is empty", r.spec.Name)
	} else {
		p = ipc.Errorf(ipc.KindCacheStale, "cache %s is %s old", r.spec.Name, ageOf(r.data).Round(time.Second))
	}
	p.Dispatcher, p.RetryAfter = r.spec.Name, 1
	switch {
	case r.v.Error != nil:
		p.Detail += "; its last refresh failed: " + r.v.Error.Message
		p.Job = r.v.Error.Job
		p.RetryAfter = max(1, r.v.Error.RetryAfter)
		p.Suggestion = "see: dispatchctl log " + r.v.Error.Job
	case refused != nil:
		p.Detail += "; a refresh was refused: " + refused.Error()
	case id != "":
		p.Detail += "; job " + id + " refreshes it"
		p.Job = id
		p.Suggestion = "ask again, or wait for it with wait"
	}
	return p
}

// close closes the data that is not handed over.
func (r *reading) close() {
	if r.data != nil {
		_ = r.data.Close()
	}
}

// flight is what became of a wish for new data.
type flight struct {
	job   string // that refreshes the cache, "" = none
	newer bool   // there is newer data already
}

// refresh has a cache refreshed and gives the job that does it: one that is
// under way, or else a new one. There is none when the last refresh has failed
// and is not to be tried yet, and when the data that the reader saw has been
// replaced meanwhile.
func (e *engine) refresh(ctx context.Context, by ipc.Peer, spec *dispatchers.Spec, seen *store.Cached) (flight, error) {
	got, err, _ := e.flights.Do(spec.Name, func() (any, error) {
		// Who joins must not depend on whether the first one goes away.
		ctx := context.WithoutCancel(ctx)
		var f flight
		hold := false
		if err := e.do(ctx, func() {
			f.job = e.refreshing(spec.Name)
			failed := e.failings[spec.Name]
			hold = failed != nil && e.now() < failed.until
		}); err != nil || f.job != "" || hold {
			return f, err
		}
		if data, err := e.openCache(spec); err == nil && data != nil {
			_ = data.Close()
			if seen == nil || data.At.After(seen.At) {
				return flight{newer: true}, nil
			}
		}
		n, err := e.Notify(ctx, by, ipc.NotifyRequest{Dispatcher: spec.Name, Origin: ipc.OriginCache})
		return flight{job: n.ID}, err
	})
	f, _ := got.(flight)
	return f, err
}
