package caches

import (
	"context"
	"slices"
	"strings"
	"time"

	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// Read gives a cache's data to a reader, as fresh as it is asked for. The caller
// closes what Data is.
func (c *Caches) Read(ctx context.Context, by ipc.Peer, s *dispatchers.Spec, q ipc.CacheQuery) (ipc.CacheData, error) {
	if s.Cache == nil {
		p := ipc.Errorf(ipc.KindCacheUnknown, "dispatcher %s keeps no cache", s.Name)
		p.Dispatcher, p.Suggestion = s.Name, "its file has no [cache]; list those that have one with: dispatchctl cache list"
		return ipc.CacheData{}, p
	}
	data, err := c.open(s)
	if err != nil {
		return ipc.CacheData{}, err
	}
	r := reading{Caches: c, spec: s, by: by, query: q, data: data, view: c.view(s, data)}
	// Whether it is fresh is for the reader to say (RFC 9111 section 5.2.1.1): he may
	// take older data than the definition, and may want younger.
	r.view.Fresh = r.fresh()
	if r.view.Fresh {
		return r.answer(), nil
	}
	if q.NoRefresh {
		return r.asItIs(ctx)
	}
	return r.renew(ctx)
}

// reading is one reader's request.
type reading struct {
	*Caches
	spec  *dispatchers.Spec
	by    ipc.Peer
	query ipc.CacheQuery
	data  *store.Cached // nil = the cache is empty
	view  ipc.Cache
}

// fresh reports whether the data is as young as the reader wants it. A reader that
// says nothing about that takes what the definition calls fresh.
func (r *reading) fresh() bool {
	switch {
	case r.data == nil:
		return false
	case r.query.MaxAge != nil:
		return ageOf(r.data) <= *r.query.MaxAge && !r.view.FromFuture
	}
	return r.view.Fresh
}

// answer hands the data over. The reader has it already where his tag is its own,
// or * (RFC 9110 section 13.1.2).
func (r *reading) answer() ipc.CacheData {
	if tags := tagsIn(r.query.IfNoneMatch); slices.Contains(tags, r.view.ETag) || slices.Contains(tags, "*") {
		_ = r.data.Close()
		return ipc.CacheData{Cache: r.view, NotModified: true}
	}
	return ipc.CacheData{Cache: r.view, Data: r.data}
}

// tagsIn are the entity tags of an If-None-Match. A weak one is compared as a strong
// one, as RFC 9110 section 13.1.2 has it.
func tagsIn(header string) []string {
	var tags []string
	for t := range strings.SplitSeq(header, ",") {
		tags = append(tags, strings.TrimPrefix(strings.TrimSpace(t), "W/"))
	}
	return tags
}

// asItIs gives what is there to a reader for whom nothing is started.
func (r *reading) asItIs(ctx context.Context) (ipc.CacheData, error) {
	err := r.addStanding(ctx)
	if err == nil && r.data != nil && !r.tooStale() {
		return r.answer(), nil
	}
	defer r.close()
	if err == nil {
		err = r.unavailable(r.view.Refreshing, nil)
	}
	return ipc.CacheData{}, err
}

// renew has the cache refreshed, and gives what comes of it, what there is
// meanwhile, or the reason why there is nothing.
func (r *reading) renew(ctx context.Context) (ipc.CacheData, error) {
	// Whoever joins the refresh must not depend on whether this reader goes away.
	job, refused := r.refresh.Refresh(context.WithoutCancel(ctx), r.by, r.spec, func() bool { return r.newer(r.spec, r.data) })
	brought := r.query.Wait > 0 && job != "" && r.await(ctx, job)
	var newer bool
	var err error
	if brought || r.newer(r.spec, r.data) {
		newer, err = r.reopen()
	}
	if err == nil && newer {
		return r.answer(), nil
	}
	if err == nil {
		err = r.addStanding(ctx)
	}
	if err == nil && r.data != nil && r.staleOK() && !r.tooStale() {
		return r.answer(), nil
	}
	defer r.close()
	if err == nil {
		err = r.unavailable(job, refused)
	}
	return ipc.CacheData{}, err
}

// await waits for a refresh, as long as the reader wants, and reports whether it
// brought data.
func (r *reading) await(ctx context.Context, job string) bool {
	ctx, cancel := context.WithTimeout(ctx, r.query.Wait)
	defer cancel()
	state, err := r.refresh.Await(ctx, r.by, job)
	return err == nil && state == ipc.Succeeded
}

// reopen takes up the data that came since the reader has opened the cache. False:
// it was removed meanwhile.
func (r *reading) reopen() (bool, error) {
	data, err := r.open(r.spec)
	if err != nil || data == nil {
		return false, err
	}
	r.close()
	r.data, r.view = data, r.Caches.view(r.spec, data)
	r.view.Fresh = true // no reader can have younger
	return true, nil
}

// addStanding adds what only the loop knows: the refresh under way, and the failure
// of the last one.
func (r *reading) addStanding(ctx context.Context) error {
	// The end of a wait is no reason to give nothing.
	standings, err := r.refresh.Standing(context.WithoutCancel(ctx), r.spec.Name)
	if err == nil {
		r.view.Refreshing, r.view.Error = standings[0].Refreshing, standings[0].Failed
	}
	return err
}

// staleOK reports whether the reader takes old data rather than none.
func (r *reading) staleOK() bool {
	if r.query.StaleOK != nil {
		return *r.query.StaleOK
	}
	return r.spec.Cache.StaleOK
}

// tooStale reports whether the data is older than the definition lets any reader
// have it (RFC 5861's stale-if-error).
func (r *reading) tooStale() bool {
	c := r.spec.Cache
	return c.MaxStale > 0 && c.MaxAge > 0 && ageOf(r.data) > c.MaxAge+c.MaxStale
}

// unavailable says why a reader gets no data.
func (r *reading) unavailable(job string, refused error) error {
	var p *ipc.Error
	switch {
	case r.data == nil:
		p = ipc.Errorf(ipc.KindCacheEmpty, "cache %s is empty", r.spec.Name)
	case r.view.FromFuture:
		p = ipc.Errorf(ipc.KindCacheStale, "cache %s is of %s, which is in the future: a clock was wrong", r.spec.Name, r.data.At.UTC().Format(time.RFC3339))
	default:
		p = ipc.Errorf(ipc.KindCacheStale, "cache %s is %s old", r.spec.Name, ageOf(r.data).Round(time.Second))
	}
	p.Dispatcher, p.RetryAfter = r.spec.Name, 1
	if r.data != nil && r.tooStale() {
		p.Detail += ", more than its max_age and max_stale allow"
	}
	switch failed := r.view.Error; {
	case failed != nil:
		p.Detail += "; its last refresh failed: " + failed.Message
		p.Job = failed.Job
		p.RetryAfter = max(1, failed.RetryAfter)
		p.Suggestion = "see: dispatchctl log " + failed.Job
	case refused != nil:
		p.Detail += "; a refresh was refused: " + refused.Error()
	case job != "":
		p.Detail += "; job " + job + " refreshes it"
		p.Job = job
		p.Suggestion = "ask again, or wait for it with wait"
	}
	return p
}

// close closes data that is not handed over.
func (r *reading) close() {
	if r.data != nil {
		_ = r.data.Close()
	}
}
