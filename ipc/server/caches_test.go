package server

import (
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dispatchd/ipc"
)

// What a reader asks for comes through as it is meant, and nonsense is refused.
func TestCacheQuery(t *testing.T) {
	minute, none := time.Minute, time.Duration(0)
	for query, want := range map[string]ipc.CacheQuery{
		"":                            {},
		"max_age=1m":                  {MaxAge: &minute},
		"max_age=60":                  {MaxAge: &minute},
		"max_age=0":                   {MaxAge: &none},
		"wait=true":                   {Wait: math.MaxInt64},
		"wait=30s&stale_ok=false":     {Wait: 30 * time.Second, StaleOK: new(false)},
		"stale_ok=true&max_age=0s":    {MaxAge: &none, StaleOK: new(true)},
		"wait=false&max_age=60000000": {MaxAge: new(60_000_000 * time.Second)},
	} {
		values := map[string]string{}
		for pair := range strings.SplitSeq(query, "&") {
			key, value, _ := strings.Cut(pair, "=")
			values[key] = value
		}
		in := cacheIn{MaxAge: values["max_age"], StaleOK: values["stale_ok"], WaitInput: WaitInput{values["wait"]}}
		got, err := in.query()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", query, err, diff)
		}
	}
	h := start(t, Options{})
	for _, query := range []string{"max_age=old", "max_age=-1s", "max_age=99999999999", "wait=soon", "stale_ok=maybe"} {
		_ = wantProblem(t, h.do("GET", "/v1/caches/d?"+query, ""), ipc.KindBadRequest)
	}
}

// The data comes alone; what there is to say of it stands in the headers, and
// nothing of a job's words can break them.
func TestCacheAnswers(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	h := start(t, Options{})
	h.back.data = "[1]"
	h.back.cached = ipc.CacheData{Cache: ipc.Cache{
		Format: "json", Size: 3, ETag: `"t"`, RefreshedAt: &at, Age: 90, Refreshing: "01J",
		Error: &ipc.CacheError{Kind: ipc.KindTimeout, Message: "late\r\nX-Evil: ü" + strings.Repeat("x", 900)},
	}}
	got := h.do("GET", "/v1/caches/d", "")
	if string(got.body) != "[1]" {
		t.Errorf("body %q", got.body)
	}
	for name, want := range map[string]string{
		"ETag": `"t"`, "Age": "90", "Content-Type": "application/json", "Last-Modified": "Wed, 04 Mar 2026 05:06:07 GMT",
		ipc.CacheHeader: "stale", ipc.CacheJobHeader: "01J", "X-Evil": "",
	} {
		if have := got.header.Get(name); have != want {
			t.Errorf("%s: %q, want %q", name, have, want)
		}
	}
	if text := got.header.Get(ipc.CacheErrorHeader); !strings.HasPrefix(text, "timeout: late??X-Evil: ?xxx") || len(text) != 500 {
		t.Errorf("error header %q", text)
	}
	h.back.cached.NotModified = true
	if got := h.do("GET", "/v1/caches/d", ""); got.status != http.StatusNotModified || len(got.body) != 0 || got.header.Get("ETag") != `"t"` {
		t.Errorf("not modified: %d %q", got.status, got.body)
	}
}

// Data that ends too early breaks the connection off: it must not look whole.
func TestCacheBreaksOff(t *testing.T) {
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Error("half of the data was a whole answer")
		}
	}()
	m := newMemory()
	d, err := m.Cache(t.Context(), ipc.Peer{}, "d", ipc.CacheQuery{})
	if err != nil {
		t.Fatal(err)
	}
	d.Size++
	writeCache(httptest.NewRecorder(), d)
}
