package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// openCaches opens the directory of cache files. What is left there by attempts
// that nobody follows any more is removed.
func (h *host) openCaches(known *jobs.State) error {
	caches, err := store.NewCaches(h.cfg.Paths.Cache, func(attempt string) bool {
		id, err := ulid.ParseStrict(strings.SplitN(attempt, "-", 2)[0])
		if err != nil {
			return false
		}
		job, ok := known.Job(id)
		return ok && !job.State().State.Final()
	})
	h.caches = caches
	if err != nil {
		return err
	}
	return ownedDir(h.cfg.Paths.Cache)
}

// keeper keeps the data of caches for run.
type keeper struct{ files *store.Caches }

// Part is run.Keeper's.
func (k keeper) Part(spec *dispatchers.Spec, attempt string) string {
	return k.files.Part(spec.Name, attempt)
}

// Keep is run.Keeper's. What is wrong with the data is an *ipc.Error.
func (k keeper) Keep(spec *dispatchers.Spec, part string, began time.Time) error {
	err := k.files.Replace(spec.Name, spec.Cache.Format, part, spec.Cache.MaxSize, began)
	if _, typed := errors.AsType[*ipc.Error](err); err != nil && !typed {
		err = ipc.Errorf(ipc.KindInternal, "%v", err)
	}
	return err
}

// Drop is run.Keeper's.
func (k keeper) Drop(part string) { _ = os.Remove(part) }

// refreshed notes how a refresh of a cache ended.
func (s *state) refreshed(job *jobs.Job, end ipc.State, out *store.Outcome) {
	if end == ipc.Succeeded {
		job.Dispatcher.Refresh.Succeeded()
		return
	}
	e := ipc.CacheError{Kind: ipc.KindInternal, Message: string(end), Job: job.ID().String(), At: time.Unix(0, out.EndedAt).UTC()}
	if out.Error != nil {
		e.Kind, e.Message = out.Error.Kind, out.Error.Message
	}
	job.Dispatcher.Refresh.Failed(s.now(), e)
}

// recallFailures finds the caches whose last refresh failed before this daemon.
func (s *state) recallFailures() {
	for d := range s.jobs.Dispatchers() {
		if d.Spec == nil || d.Spec.Cache == nil {
			continue
		}
		for _, job := range s.jobs.List(ipc.JobFilter{Dispatcher: d.Name, Limit: 1}) {
			if st := job.State(); st.State.Final() && st.State != ipc.Succeeded && st.Run != nil {
				s.refreshed(job, st.State, st.Run)
			}
		}
	}
}

// cacheView is how a cache stands; data is what it holds, nil = nothing.
func (h *host) cacheView(spec *dispatchers.Spec, data *store.Cached) ipc.Cache {
	v := ipc.Cache{
		Name: spec.Name, Description: spec.Description, Format: spec.Cache.Format,
		Path: h.caches.Path(spec.Name, spec.Cache.Format), MaxAge: int64(spec.Cache.MaxAge / time.Second),
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
func (h *host) openCache(spec *dispatchers.Spec) (*store.Cached, error) {
	data, err := h.caches.Open(spec.Name, spec.Cache.Format)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// addLive adds what only the loop knows: the refresh under way, and the failure
// of the last one.
func (b *backend) addLive(ctx context.Context, v *ipc.Cache) error {
	return b.do(ctx, func(s *state) {
		if d := s.jobs.Dispatcher(v.Name); d != nil {
			v.Refreshing, v.Error = s.refreshing(d), d.Refresh.Err(s.now())
		}
	})
}

// refreshing is the job that refreshes a cache now, or is about to; "" = none.
func (s *state) refreshing(d *jobs.Dispatcher) string {
	for job := range d.Running {
		return job.ID().String()
	}
	if id, _, ok := s.core.Head(d.Name); ok {
		return ulid.ULID(id).String()
	}
	return ""
}

// Caches lists all caches.
func (b *backend) Caches(ctx context.Context, by ipc.Peer) ([]ipc.Cache, error) {
	if err := b.permitted(ctx, query{Verb: server.VerbRead, Peer: by}, func(s *state) {}); err != nil {
		return nil, err
	}
	list := []ipc.Cache{}
	c := b.catalog.Load()
	for _, name := range c.Names() {
		spec := c.Specs[name]
		if spec == nil || spec.Cache == nil {
			continue
		}
		data, broken := b.openCache(spec)
		v := b.cacheView(spec, data)
		if data != nil {
			_ = data.Close()
		}
		if err := b.addLive(ctx, &v); err != nil {
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
func (b *backend) Cache(ctx context.Context, by ipc.Peer, name string, q ipc.CacheQuery) (ipc.CacheData, error) {
	spec, err := b.lookup(name)
	if err != nil {
		return ipc.CacheData{}, err
	}
	if err := b.allow(query{Verb: server.VerbRead, Peer: by, Dispatcher: spec}); err != nil {
		return ipc.CacheData{}, err // a fresh file is read without the loop
	}
	if spec.Cache == nil {
		p := ipc.Errorf(ipc.KindCacheUnknown, "dispatcher %s keeps no cache", name)
		p.Dispatcher, p.Suggestion = name, "its file has no [cache]; list those that have one with: dispatchctl cache list"
		return ipc.CacheData{}, p
	}
	data, err := b.openCache(spec)
	if err != nil {
		return ipc.CacheData{}, err
	}
	r := reading{b: b, spec: spec, by: by, q: q, data: data, v: b.cacheView(spec, data)}
	if r.good() {
		return r.give(), nil
	}
	return r.renew(ctx)
}

// reading is a reader's request for a cache's data.
type reading struct {
	b    *backend
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
	f, refused := r.b.refresh(ctx, r.by, r.spec, r.data)
	if r.q.Wait > 0 && f.job != "" {
		f.newer = r.await(ctx, f.job)
	}
	var err error
	if f.newer {
		r.close()
		if r.data, err = r.b.openCache(r.spec); err == nil && r.data != nil {
			r.v = r.b.cacheView(r.spec, r.data)
			return r.give(), nil
		}
	}
	if err == nil {
		err = r.b.addLive(ctx, &r.v)
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
	job, err := r.b.Await(ctx, r.by, id)
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
func (b *backend) refresh(ctx context.Context, by ipc.Peer, spec *dispatchers.Spec, seen *store.Cached) (flight, error) {
	got, err, _ := b.refreshes.Do(spec.Name, func() (any, error) {
		// Who joins must not depend on whether the first one goes away.
		ctx := context.WithoutCancel(ctx)
		var f flight
		hold := false
		if err := b.do(ctx, func(s *state) {
			if d := s.jobs.Dispatcher(spec.Name); d != nil {
				f.job, hold = s.refreshing(d), d.Refresh.Wait(s.now())
			}
		}); err != nil || f.job != "" || hold {
			return f, err
		}
		if data, err := b.openCache(spec); err == nil && data != nil {
			_ = data.Close()
			if seen == nil || data.At.After(seen.At) {
				return flight{newer: true}, nil
			}
		}
		n, err := b.Notify(ctx, by, ipc.NotifyRequest{Dispatcher: spec.Name, Origin: ipc.OriginCache})
		return flight{job: n.ID}, err
	})
	f, _ := got.(flight)
	return f, err
}
