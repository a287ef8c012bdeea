package daemon

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"dispatchd/daemon/internal/caches"
	"dispatchd/daemon/internal/jobs"
	"dispatchd/daemon/internal/launch"
	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/server"
)

// openCaches opens the directory of cache files. It removes what attempts left there
// that nobody follows any more.
func (h *host) openCaches(known *jobs.State) (*store.Caches, error) {
	files, err := store.NewCaches(h.cfg.Paths.Cache, func(attempt string) bool {
		id, err := ulid.ParseStrict(strings.SplitN(attempt, "-", 2)[0])
		if err != nil {
			return false
		}
		job, ok := known.Job(id)
		return ok && !job.State().State.Final()
	})
	if err != nil {
		return nil, err
	}
	return files, ownedDir(h.cfg.Paths.Cache)
}

// cacheAccess says who may read the file of a cache: as the definition says, else
// whoever may use the socket.
func (h *host) cacheAccess(c *dispatchers.Cache) (store.Access, error) {
	a := store.Access{Mode: 0o640, GID: -1}
	if fi, err := os.Stat(h.cfg.Paths.Socket()); err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			a.GID = int(st.Gid)
		}
		switch perm := fi.Mode().Perm(); { // connect(2) needs write permission
		case perm&0o002 != 0:
			a.Mode = 0o644
		case perm&0o020 == 0:
			a.Mode = 0o600
		}
	}
	if c.Mode != 0 {
		a.Mode = os.FileMode(c.Mode)
	}
	if c.Group != "" {
		gid, err := launch.GroupID(c.Group)
		if err != nil {
			return a, fmt.Errorf("cache.group %s: %w", c.Group, err)
		}
		a.GID = int(gid)
	}
	return a, nil
}

// protectCaches lets nobody else read the files of caches than the definitions say.
func (h *host) protectCaches(c *dispatchers.Catalog) {
	for _, name := range c.Names() {
		if spec := c.Specs[name]; spec != nil && spec.Cache != nil {
			if err := h.caches.Protect(spec); err != nil {
				h.log.Error("a cache's file may be read by others than it should", "cache", name, "error", err)
			}
		}
	}
}

// Caches lists all caches.
func (b *backend) Caches(ctx context.Context, by ipc.Peer) ([]ipc.Cache, error) {
	if err := b.allow(query{Verb: server.VerbRead, Peer: by}); err != nil {
		return nil, err
	}
	var specs []*dispatchers.Spec
	c := b.catalog.Load()
	for _, name := range c.Names() {
		specs = append(specs, c.Specs[name])
	}
	return b.caches.List(ctx, specs)
}

// Cache gives a cache's data, as fresh as it is asked for.
func (b *backend) Cache(ctx context.Context, by ipc.Peer, name string, q ipc.CacheQuery) (ipc.CacheData, error) {
	spec, err := b.lookup(name)
	if err != nil {
		return ipc.CacheData{}, err
	}
	// A fresh file is read without the loop, so the rules are asked here. A refresh is
	// a job: it is started for who may notify.
	notify, read := query{Verb: server.VerbNotify, Peer: by, Dispatcher: spec}, query{Verb: server.VerbRead, Peer: by, Dispatcher: spec}
	if q.Insists {
		if err := b.allow(notify); err != nil {
			return ipc.CacheData{}, err
		}
	} else if err := b.allow(read); err != nil {
		return ipc.CacheData{}, err
	} else if b.allow(notify) != nil {
		q.NoRefresh = true
	}
	return b.caches.Read(ctx, by, spec, q)
}

// refresher is the loop as caches see it.
type refresher struct{ *backend }

// wish is what became of a reader's wish for new data.
type wish struct {
	job string // that refreshes the cache, "" = none
	err error
}

// Refresh is caches.Refresher's.
func (r refresher) Refresh(ctx context.Context, by ipc.Peer, spec *dispatchers.Spec, newer func() bool) (string, error) {
	reply := make(chan wish, 1)
	err := r.loop.Send(ctx, func(s *state) {
		admitting(s).refresh(by, spec, newer, func(job string, err error) { reply <- wish{job, err} })
	})
	if err != nil {
		return "", stopped(err)
	}
	w, err := await(r.host, reply)
	return w.job, cmp.Or(err, w.err)
}

// Await is caches.Refresher's.
func (r refresher) Await(ctx context.Context, by ipc.Peer, id string) (ipc.State, error) {
	job, err := r.backend.Await(ctx, by, id)
	return job.State, err
}

// Standing is caches.Refresher's.
func (r refresher) Standing(ctx context.Context, names ...string) ([]caches.Standing, error) {
	list := make([]caches.Standing, len(names))
	err := r.view(ctx, func(s *state) {
		for i, name := range names {
			if d := s.jobs.Dispatcher(name); d != nil {
				list[i] = caches.Standing{Refreshing: viewing(s).refreshing(d), Failed: d.Refresh.Err(s.now())}
			}
		}
	})
	return list, err
}

// refresh gives a reader the job that refreshes a cache: one that is under way, or
// one that it submits. All who come until that job is durable share it, or its
// refusal. reply is called once, with what is durable.
func (s admission) refresh(by ipc.Peer, spec *dispatchers.Spec, newer func() bool, reply func(job string, err error)) {
	d := s.jobs.Dispatcher(spec.Name)
	if len(d.Wishes) > 0 {
		d.Wishes = append(d.Wishes, reply)
		return
	}
	if job := s.refreshing(d); job != "" {
		reply(job, nil)
		return
	}
	if d.Refresh.Wait(s.now()) || newer() {
		reply("", nil)
		return
	}
	d.Wishes = append(d.Wishes, reply)
	go s.checkThenRefresh(by, spec)
}

// checkThenRefresh does what of a refresh needs no loop: packages are looked for.
func (h *host) checkThenRefresh(by ipc.Peer, spec *dispatchers.Spec) {
	sub, err := h.check(context.Background(), spec, ipc.NotifyRequest{Dispatcher: spec.Name, Origin: ipc.OriginCache})
	sub.by = ipc.Notifier{Peer: by, At: time.Now().UTC()}
	h.post(func(s *state) {
		d := s.jobs.Dispatcher(spec.Name)
		if err != nil {
			s.count(spec.Name, refused)
			d.Answer("", err)
			return
		}
		admitting(s).submit(sub, func(a answer) { d.Answer(a.notified.ID, a.err) })
	})
}
