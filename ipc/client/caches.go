package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"dispatchd/ipc"
)

// Schedule lists when dispatchers are due.
func (c *Client) Schedule(ctx context.Context, q ipc.ScheduleQuery) ([]ipc.Schedule, error) {
	v := url.Values{"next": {strconv.Itoa(q.Next)}}
	if q.Dispatcher != "" {
		v.Set("dispatcher", q.Dispatcher)
	}
	return get[[]ipc.Schedule](ctx, c, "/v1/schedule?"+v.Encode())
}

// Caches lists all caches.
func (c *Client) Caches(ctx context.Context) ([]ipc.Cache, error) {
	return get[[]ipc.Cache](ctx, c, "/v1/caches")
}

// Cache gives a cache's data; the caller closes it. Of the Cache in it, the fields
// that an answer's headers carry are set. A read that fails with
// io.ErrUnexpectedEOF has not got all of the data.
func (c *Client) Cache(ctx context.Context, name string, q ipc.CacheQuery) (ipc.CacheData, error) {
	v := url.Values{}
	if q.MaxAge != nil {
		v.Set("max_age", q.MaxAge.String())
	}
	if q.Wait > 0 {
		v.Set("wait", q.Wait.String())
	}
	if q.StaleOK != nil {
		v.Set("stale_ok", strconv.FormatBool(*q.StaleOK))
	}
	header := http.Header{}
	if q.IfNoneMatch != "" {
		header.Set("If-None-Match", q.IfNoneMatch)
	}
	path := "/v1/caches/" + url.PathEscape(name)
	if len(v) > 0 {
		path += "?" + v.Encode()
	}
	resp, err := c.send(ctx, request{method: http.MethodGet, path: path, header: header, waits: q.Wait})
	if err != nil {
		return ipc.CacheData{}, err
	}
	d, err := cacheData(name, resp)
	if err != nil || d.NotModified {
		_ = resp.Body.Close()
	}
	return d, err
}

// cacheData reads what the headers say.
func cacheData(name string, resp *http.Response) (ipc.CacheData, error) {
	h := resp.Header
	d := ipc.CacheData{NotModified: resp.StatusCode == http.StatusNotModified}
	if !d.NotModified {
		d.Data = resp.Body
		d.Size = resp.ContentLength
	}
	d.Name, d.ETag, d.Refreshing, d.Fresh = name, h.Get("ETag"), h.Get(ipc.CacheJobHeader), h.Get(ipc.CacheHeader) == "fresh"
	d.Format = "json"
	if strings.HasPrefix(h.Get("Content-Type"), "text/") {
		d.Format = "text"
	}
	var err error
	if d.Age, err = strconv.ParseInt(h.Get("Age"), 10, 64); err != nil {
		return d, fmt.Errorf("cache %s: the answer has no age: %w", name, err)
	}
	if at, err := time.Parse(http.TimeFormat, h.Get("Last-Modified")); err == nil {
		// Both times are the daemon's, which is on this machine.
		d.RefreshedAt, d.FromFuture = &at, !d.Fresh && d.Age == 0 && time.Until(at) > 0
	}
	if text := h.Get(ipc.CacheErrorHeader); text != "" {
		kind, message, _ := strings.Cut(text, ": ")
		d.Error = &ipc.CacheError{Kind: ipc.Kind(kind), Message: message}
	}
	return d, nil
}
