package ipc

import (
	"io"
	"time"
)

// Headers of an answer with a cache's data.
const (
	CacheHeader      = "Dispatchd-Cache"       // fresh or stale
	CacheErrorHeader = "Dispatchd-Cache-Error" // why the last refresh failed
	CacheJobHeader   = "Dispatchd-Cache-Job"   // which job refreshes it now
)

// Cache is how the kept output of a dispatcher stands.
type Cache struct {
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Format      string      `json:"format" enum:"json,text"`
	Path        string      `json:"path" doc:"the file, which is whole at any instant"`
	Size        int64       `json:"size" doc:"in bytes, 0 while it is empty"`
	ETag        string      `json:"etag,omitempty"`
	RefreshedAt *time.Time  `json:"refreshed_at,omitempty" doc:"missing while it is empty"`
	Age         int64       `json:"age" doc:"seconds since then"`
	MaxAge      int64       `json:"max_age" doc:"seconds after which it is stale, 0 = never"`
	Fresh       bool        `json:"fresh"`
	FromFuture  bool        `json:"from_future,omitempty" doc:"refreshed_at is in the future, since a clock was wrong; such data is stale"`
	Refreshing  string      `json:"refreshing,omitempty" doc:"id of the job that refreshes it now"`
	Error       *CacheError `json:"error,omitempty" doc:"why the last refresh failed; the data is the last good one"`
}

// CacheError is why the last refresh of a cache failed.
type CacheError struct {
	Kind       Kind      `json:"kind"`
	Message    string    `json:"message"`
	Job        string    `json:"job"`
	At         time.Time `json:"at"`
	RetryAfter int       `json:"retry_after" doc:"seconds for which readers do not have it tried again"`
}

// CacheQuery says what data a reader takes.
type CacheQuery struct {
	MaxAge      *time.Duration // nil = the cache's own
	Wait        time.Duration  // for a refresh, when what is there is older
	StaleOK     *bool          // whether older data is better than none; nil = the cache's own
	IfNoneMatch string         // the ETag that the reader has
	NoRefresh   bool           // give what is there, however old, and start nothing
	Insists     bool           // refuse a reader who may not have it refreshed
}

// CacheData is a cache with its data.
type CacheData struct {
	Cache
	Data        io.ReadCloser // nil when NotModified
	NotModified bool          // it is what the reader has
}
