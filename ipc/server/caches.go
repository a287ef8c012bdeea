package server

import (
	"context"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"dispatchd/ipc"
)

// scheduleIn selects schedules.
type scheduleIn struct {
	Dispatcher string `query:"dispatcher"`
	Next       int    `query:"next" minimum:"0" maximum:"100" default:"1" doc:"how many of the next times"`
}

func (s *Server) schedule(ctx context.Context, by ipc.Peer, in *scheduleIn) ([]ipc.Schedule, error) {
	return nonNil(s.backend.Schedule(ctx, by, ipc.ScheduleQuery{Dispatcher: in.Dispatcher, Next: in.Next}))
}

func (s *Server) caches(ctx context.Context, by ipc.Peer, _ *noInput) ([]ipc.Cache, error) {
	return nonNil(s.backend.Caches(ctx, by))
}

// cacheIn asks for a cache's data.
type cacheIn struct {
	Name        string `path:"name" maxLength:"64"`
	MaxAge      string `query:"max_age" doc:"the oldest that will do, such as 60s; without it what the cache says itself"`
	StaleOK     string `query:"stale_ok" enum:"true,false" doc:"whether older data is better than none; without it what the cache says itself"`
	IfNoneMatch string `header:"If-None-Match" doc:"the ETag of what the reader has"`
	WaitInput
}

// query translates the parameters; a wait without limit is the longest Duration.
func (in *cacheIn) query() (ipc.CacheQuery, error) {
	q := ipc.CacheQuery{IfNoneMatch: in.IfNoneMatch}
	limit, waits, err := parseWait(in.Wait)
	if err != nil {
		return q, err
	}
	if waits {
		q.Wait = limit
		if limit == 0 {
			q.Wait = math.MaxInt64
		}
	}
	if in.StaleOK != "" {
		q.StaleOK = new(in.StaleOK == "true")
	}
	if in.MaxAge != "" {
		age, err := time.ParseDuration(in.MaxAge)
		if n, nerr := strconv.ParseUint(in.MaxAge, 10, 31); nerr == nil { // whole seconds, as in a dispatcher's file
			age, err = time.Duration(n)*time.Second, nil
		}
		if err != nil || age < 0 {
			return q, ipc.Errorf(ipc.KindBadRequest, "max_age=%.40q: not a duration such as 60s", in.MaxAge)
		}
		q.MaxAge = &age
	}
	return q, nil
}

// cache answers with the data itself; headers say how old it is and why. A browser
// gets what is there: a page elsewhere can have it ask, as for a picture.
func (s *Server) cache(ctx context.Context, by ipc.Peer, in *cacheIn, w http.ResponseWriter) error {
	q, err := in.query()
	if err != nil {
		return err
	}
	q.NoRefresh = ctx.Value(browserKey{}) != nil
	return s.readCache(ctx, by, in.Name, q, w)
}

// refreshCache is cache by POST, which says by itself that it may start a job.
func (s *Server) refreshCache(ctx context.Context, by ipc.Peer, in *cacheIn, w http.ResponseWriter) error {
	q, err := in.query()
	if err != nil {
		return err
	}
	q.Insists = true
	return s.readCache(ctx, by, in.Name, q, w)
}

// readCache answers with a cache's data.
func (s *Server) readCache(ctx context.Context, by ipc.Peer, name string, q ipc.CacheQuery, w http.ResponseWriter) error {
	if q.Wait == 0 {
		calling, done := s.ignoreHangup(ctx)
		defer done()
		ctx = calling
	} else {
		ended, err := s.places.beginWait(ctx)
		if err != nil {
			return err
		}
		defer ended()
	}
	closed, err := s.places.openFile(ctx)
	if err != nil {
		return err
	}
	defer closed()
	d, err := s.backend.Cache(ctx, by, name, q)
	if err != nil {
		return err
	}
	writeCache(w, d)
	return nil
}

// writeCache writes a cache's data. Where not all of it can be read, the
// connection breaks off, so that half of the data does not look whole.
func writeCache(w http.ResponseWriter, d ipc.CacheData) {
	h := w.Header()
	h.Set("ETag", d.ETag)
	h.Set("Age", strconv.FormatInt(d.Age, 10))
	h.Set(ipc.CacheHeader, "fresh")
	if !d.Fresh {
		h.Set(ipc.CacheHeader, "stale")
	}
	if d.RefreshedAt != nil {
		h.Set("Last-Modified", d.RefreshedAt.UTC().Format(http.TimeFormat))
	}
	if d.Refreshing != "" {
		h.Set(ipc.CacheJobHeader, d.Refreshing)
	}
	if d.Error != nil {
		h.Set(ipc.CacheErrorHeader, headerText(string(d.Error.Kind)+": "+d.Error.Message))
	}
	if d.NotModified {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	defer func() { _ = d.Data.Close() }()
	h.Set("Content-Type", "application/json")
	if d.Format == "text" {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.FormatInt(d.Size, 10))
	if n, err := io.Copy(struct{ io.Writer }{w}, d.Data); err != nil || n != d.Size { // the struct hides ReadFrom: no sendfile, for most data is short
		panic(http.ErrAbortHandler) // net/http's own way to break off
	}
}

// headerText makes one line of printable ASCII, which a header may hold.
func headerText(s string) string {
	const longest = 500
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), longest)]
}
