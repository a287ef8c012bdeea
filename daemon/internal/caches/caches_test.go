package caches

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// loop plays the daemon's loop: it has one refresh under way at a time, whose job
// prints what the test says.
type loop struct {
	mu       sync.Mutex
	caches   *Caches
	spec     *dispatchers.Spec
	prints   string // by the next job; "" = it fails
	refused  error
	backoff  bool // readers have no refresh tried
	stopped  error
	jobs     int
	job      string        // under way
	ended    chan struct{} // closed with its end
	state    ipc.State
	failed   *ipc.CacheError
	trips    map[string]int
	waiting  sync.WaitGroup // who has called Await, where a test counts them
	counting bool
}

func (l *loop) Refresh(_ context.Context, _ ipc.Peer, s *dispatchers.Spec, newer func() bool) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trips["refresh"]++
	switch {
	case l.job != "" || l.refused != nil:
		return l.job, l.refused
	case l.backoff || newer():
		return "", nil
	}
	l.jobs++
	l.job, l.ended = fmt.Sprint(s.Name, "-", l.jobs), make(chan struct{})
	return l.job, nil
}

// end ends the job that is under way.
func (l *loop) end(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state, l.failed = ipc.Succeeded, nil
	part := l.caches.Part(l.spec, l.job)
	if err := os.WriteFile(part, []byte(l.prints), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.caches.Keep(l.spec, part, time.Now()); err != nil { // before its end is known
		p, _ := errors.AsType[*ipc.Error](err)
		l.state, l.failed = ipc.Failed, new(Failure(l.job, ipc.Failed, &ipc.JobError{Kind: p.Kind, Message: p.Detail}, time.Now()))
		l.failed.RetryAfter = 5
	}
	l.job = ""
	close(l.ended)
}

func (l *loop) Await(ctx context.Context, _ ipc.Peer, job string) (ipc.State, error) {
	l.mu.Lock()
	ended, current := l.ended, l.job
	if l.counting {
		l.waiting.Done()
	}
	l.mu.Unlock()
	if current != job {
		return l.state, nil
	}
	select {
	case <-ended:
		return l.state, nil
	case <-ctx.Done():
		return ipc.Running, nil
	}
}

func (l *loop) Standing(_ context.Context, names ...string) ([]Standing, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trips["standing"]++
	list := make([]Standing, len(names))
	for i, name := range names {
		if name == l.spec.Name {
			list[i] = Standing{Refreshing: l.job, Failed: l.failed}
		}
	}
	return list, l.stopped
}

// place makes a cache in a directory of the test's.
func place(t *testing.T) *loop {
	t.Helper()
	files, err := store.NewCaches(t.TempDir(), func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	l := &loop{trips: map[string]int{}, spec: &dispatchers.Spec{
		Name: "op", Description: "things", Cache: &dispatchers.Cache{MaxAge: time.Hour, Format: "json", MaxSize: 100},
	}}
	l.caches = New(files, l, func(*dispatchers.Cache) (store.Access, error) { return store.Access{Mode: 0o640, GID: -1}, nil })
	return l
}

// fill puts data of an age in the cache's place.
func (l *loop) fill(t *testing.T, text string, age time.Duration) {
	t.Helper()
	path := l.caches.files.Path("op", "json")
	at := time.Now().Add(-age)
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, at, at)); err != nil {
		t.Fatal(err)
	}
}

// read reads the cache, and gives its data or the error's words.
func (l *loop) read(t *testing.T, q ipc.CacheQuery) (string, ipc.Cache) {
	t.Helper()
	d, err := l.caches.Read(t.Context(), ipc.Peer{}, l.spec, q)
	switch {
	case err != nil:
		if p, typed := errors.AsType[*ipc.Error](err); typed {
			return fmt.Sprintf("%s: %s (%d s, job %q, %s)", p.Kind, p.Detail, p.RetryAfter, p.Job, p.Suggestion), d.Cache
		}
		return err.Error(), d.Cache
	case d.NotModified:
		if d.Data != nil {
			t.Error("data that the reader has")
		}
		return "not modified", d.Cache
	}
	text, err := io.ReadAll(d.Data)
	if err := errors.Join(err, d.Data.Close()); err != nil {
		t.Error(err)
	}
	return string(text), d.Cache
}

// Readers that want a refresh, and readers that saw the data from before it and ask
// only when it has ended, have one refresh, and all of them its data.
func TestOneRefresh(t *testing.T) {
	for _, readers := range []int{100, 1000} {
		for _, filled := range []bool{false, true} {
			t.Run(fmt.Sprint(readers, filled), func(t *testing.T) { oneRefresh(t, readers/2, filled) })
		}
	}
}

func oneRefresh(t *testing.T, half int, filled bool) {
	l := place(t)
	if filled {
		l.fill(t, "[0]", time.Minute)
	}
	l.prints = "[1]"
	l.counting = true
	l.waiting.Add(half)
	q := ipc.CacheQuery{MaxAge: new(time.Duration(0)), Wait: time.Hour}
	var all sync.WaitGroup
	var late []*reading
	got := make(chan string, 2*half)
	for range half {
		all.Go(func() {
			text, _ := l.read(t, q)
			got <- text
		})
		data, err := l.caches.open(l.spec)
		if err != nil {
			t.Fatal(err)
		}
		late = append(late, &reading{Caches: l.caches, spec: l.spec, query: q, data: data, view: l.caches.view(l.spec, data)})
	}
	l.waiting.Wait() // half of them know the job, and wait for it
	l.end(t)
	for _, r := range late {
		all.Go(func() {
			d, err := r.renew(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = d.Data.Close() }()
			text, _ := io.ReadAll(d.Data)
			got <- string(text)
		})
	}
	all.Wait()
	close(got)
	read := map[string]int{}
	for text := range got {
		read[text]++
	}
	if l.jobs != 1 || read["[1]"] != 2*half || l.trips["refresh"] != 2*half {
		t.Errorf("%d jobs, %d trips, read %v", l.jobs, l.trips["refresh"], read)
	}
}

// Fresh data is read without the loop.
func TestFresh(t *testing.T) {
	l := place(t)
	l.fill(t, "[1]", 10*time.Minute)
	text, v := l.read(t, ipc.CacheQuery{})
	if text != "[1]" || !v.Fresh || v.Age < 600 || v.Age > 660 || v.MaxAge != 3600 || v.Size != 3 || v.RefreshedAt == nil || v.Name != "op" || v.Description != "things" {
		t.Errorf("%q, %+v", text, v)
	}
	if text, _ := l.read(t, ipc.CacheQuery{MaxAge: new(15 * time.Minute)}); text != "[1]" {
		t.Error(text)
	}
	for _, header := range []string{v.ETag, `"x", W/` + v.ETag, " W/" + v.ETag + " "} {
		if text, again := l.read(t, ipc.CacheQuery{IfNoneMatch: header}); text != "not modified" || again.ETag != v.ETag {
			t.Errorf("%s: %q", header, text)
		}
	}
	if text, _ := l.read(t, ipc.CacheQuery{IfNoneMatch: `"x"`}); text != "[1]" {
		t.Error(text)
	}
	l.spec.Cache.MaxAge = 0 // never stale
	l.fill(t, "[2]", 10000*time.Hour)
	if text, v := l.read(t, ipc.CacheQuery{}); text != "[2]" || !v.Fresh {
		t.Errorf("%q, %+v", text, v)
	}
	l.fill(t, "[3]", -10000*time.Hour) // any age will do
	if text, v := l.read(t, ipc.CacheQuery{}); text != "[3]" || !v.Fresh || v.Age != 0 || !v.FromFuture {
		t.Errorf("%q, %+v", text, v)
	}
	if len(l.trips) > 0 {
		t.Errorf("trips to the loop: %v", l.trips)
	}
}

// Data whose time is in the future is stale, whoever asks: a wrong clock has left it,
// and it would be fresh until then. Reading it has it refreshed, and says why.
func TestFromFuture(t *testing.T) {
	for _, ahead := range []time.Duration{5 * time.Second, time.Hour, 10 * 365 * 24 * time.Hour} {
		for name, q := range map[string]ipc.CacheQuery{"its own": {}, "the reader's": {MaxAge: new(time.Hour)}} {
			l := place(t)
			l.fill(t, "[1]", -ahead)
			l.spec.Cache.StaleOK = true
			text, v := l.read(t, q)
			if text != "[1]" || v.Fresh || !v.FromFuture || v.Age != 0 || l.jobs != 1 {
				t.Errorf("%s ahead, by %s max age: %q, %+v, %d refreshes", ahead, name, text, v, l.jobs)
			}
			l = place(t)
			l.fill(t, "[1]", -ahead)
			l.spec.Cache.StaleOK = false
			if text, _ = l.read(t, q); !strings.Contains(text, "which is in the future") {
				t.Errorf("%s ahead, by %s max age: %s", ahead, name, text)
			}
			list, err := l.caches.List(t.Context(), []*dispatchers.Spec{l.spec})
			if err != nil || list[0].Fresh || !list[0].FromFuture {
				t.Errorf("listed as %+v, %v", list, err)
			}
		}
	}
}

// What a reader of stale data gets: old data where that is allowed, else the reason.
func TestStale(t *testing.T) {
	for _, c := range []struct {
		name   string
		filled bool
		query  ipc.CacheQuery
		set    func(*loop)
		want   string
	}{
		{"old data, by the cache", true, ipc.CacheQuery{}, func(l *loop) { l.spec.Cache.StaleOK = true }, "[0]"},
		{"old data, by the reader", true, ipc.CacheQuery{StaleOK: new(true)}, func(*loop) {}, "[0]"},
		{"no old data, by the reader", true, ipc.CacheQuery{StaleOK: new(false)}, func(l *loop) { l.spec.Cache.StaleOK = true }, `cache_stale: cache op is 2h0m0s old; job op-1 refreshes it (1 s, job "op-1", ask again, or wait for it with wait)`},
		{"empty", false, ipc.CacheQuery{StaleOK: new(true)}, func(*loop) {}, `cache_empty: cache op is empty; job op-1 refreshes it (1 s, job "op-1", ask again, or wait for it with wait)`},
		{"refused", false, ipc.CacheQuery{}, func(l *loop) { l.refused = errors.New("the daemon is draining") }, `cache_empty: cache op is empty; a refresh was refused: the daemon is draining (1 s, job "", )`},
		{"it has failed", true, ipc.CacheQuery{}, func(l *loop) {
			l.backoff, l.failed = true, &ipc.CacheError{Message: "exit status 3", Job: "J9", RetryAfter: 7}
		}, `cache_stale: cache op is 2h0m0s old; its last refresh failed: exit status 3 (7 s, job "J9", see: dispatchctl log J9)`},
		{"the daemon stops", false, ipc.CacheQuery{}, func(l *loop) { l.stopped = errors.New("the daemon is stopping") }, "the daemon is stopping"},
		{"the wait runs out", true, ipc.CacheQuery{Wait: time.Millisecond}, func(*loop) {}, `cache_stale: cache op is 2h0m0s old; job op-1 refreshes it (1 s, job "op-1", ask again, or wait for it with wait)`},
	} {
		l := place(t)
		c.set(l)
		if c.filled {
			l.fill(t, "[0]", 2*time.Hour)
		}
		text, v := l.read(t, c.query)
		if text != c.want {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
		if text == "[0]" && (v.Fresh || v.Refreshing != "op-1") {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
}

// A reader that waits for a refresh which fails gets the old data, with the reason,
// or the reason alone.
func TestWaitForFailure(t *testing.T) {
	for stale, want := range map[bool]string{
		true:  "[0]",
		false: `cache_stale: cache op is 2h0m0s old; its last refresh failed: the output is empty (5 s, job "op-1", see: dispatchctl log op-1)`,
	} {
		l := place(t)
		l.fill(t, "[0]", 2*time.Hour)
		l.counting = true
		l.waiting.Add(1)
		got := make(chan string)
		go func() {
			text, _ := l.read(t, ipc.CacheQuery{Wait: time.Hour, StaleOK: &stale})
			got <- text
		}()
		l.waiting.Wait()
		l.end(t)
		if text := <-got; text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
}

// A refresh brings data though the clock was set back before it.
func TestClockSetBack(t *testing.T) {
	l := place(t)
	l.fill(t, "[0]", -time.Hour)
	none := time.Duration(-1) // nothing is young enough
	l.prints = "[1]"
	l.counting = true
	l.waiting.Add(1)
	got := make(chan string)
	go func() {
		text, _ := l.read(t, ipc.CacheQuery{MaxAge: &none, Wait: time.Hour})
		got <- text
	}()
	l.waiting.Wait()
	l.end(t)
	if text := <-got; text != "[1]" {
		t.Error(text)
	}
}

// The list has all caches and one trip to the loop, whatever is wrong with one.
func TestList(t *testing.T) {
	l := place(t)
	l.fill(t, "[0]", time.Minute)
	l.failed = &ipc.CacheError{Message: "exit status 3"}
	broken := &dispatchers.Spec{Name: "broken", Cache: &dispatchers.Cache{Format: "text"}}
	if err := os.Mkdir(l.caches.files.Path("broken", "text"), 0o755); err != nil {
		t.Fatal(err)
	}
	empty := &dispatchers.Spec{Name: "empty", Cache: &dispatchers.Cache{Format: "text"}}
	list, err := l.caches.List(t.Context(), []*dispatchers.Spec{broken, nil, {Name: "none"}, l.spec, empty})
	if err != nil || len(list) != 3 || l.trips["standing"] != 1 {
		t.Fatalf("%+v, %v, %v", list, err, l.trips)
	}
	if b := list[0]; b.Name != "broken" || b.Error == nil || b.Error.Kind != ipc.KindInternal || b.Fresh {
		t.Errorf("%+v", b)
	}
	if v := list[1]; v.Name != "op" || v.Error.Message != "exit status 3" || v.Size != 3 || !v.Fresh {
		t.Errorf("%+v", v)
	}
	if v := list[2]; v.Name != "empty" || v.Error != nil || v.RefreshedAt != nil || v.Fresh || filepath.Ext(v.Path) != ".txt" {
		t.Errorf("%+v", v)
	}
	if list, err := l.caches.List(t.Context(), nil); list == nil || len(list) > 0 || err != nil {
		t.Errorf("none: %v, %v", list, err)
	}
	l.stopped = errors.New("the daemon is stopping")
	if _, err := l.caches.List(t.Context(), nil); !errors.Is(err, l.stopped) {
		t.Error(err)
	}
}

// A dispatcher without a cache says so, and a cache whose file cannot be read says
// why.
func TestUnreadable(t *testing.T) {
	l := place(t)
	if err := os.Mkdir(l.caches.files.Path("op", "json"), 0o755); err != nil {
		t.Fatal(err)
	}
	if text, _ := l.read(t, ipc.CacheQuery{}); !strings.HasPrefix(text, "cache file: ") {
		t.Error(text)
	}
	l.spec.Cache = nil
	want := `cache_unknown: dispatcher op keeps no cache (0 s, job "", its file has no [cache]; list those that have one with: dispatchctl cache list)`
	if text, _ := l.read(t, ipc.CacheQuery{}); text != want {
		t.Error(text)
	}
}

// Keep and Drop leave no part.
func TestParts(t *testing.T) {
	l := place(t)
	write := func(text string) string {
		part := l.caches.Part(l.spec, "J-1")
		if err := os.WriteFile(part, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return part
	}
	gone := func(part string) {
		t.Helper()
		if _, err := os.Stat(part); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", part, err)
		}
	}
	part := write("[1]")
	if err := l.caches.Keep(l.spec, part, time.Now()); err != nil {
		t.Error(err)
	}
	gone(part)
	for text, says := range map[string]string{"[": "in the middle of a value", "[" + strings.Repeat(" ", 100) + "]": "longer than max_size"} {
		err := l.caches.Keep(l.spec, write(text), time.Now())
		if p, ok := errors.AsType[*ipc.Error](err); !ok || p.Kind != ipc.KindCacheInvalid || !strings.Contains(p.Detail, says) {
			t.Errorf("%q: %v", text, err)
		}
		gone(part)
	}
	err := l.caches.Keep(l.spec, part, time.Now()) // nobody wrote it
	if p, ok := errors.AsType[*ipc.Error](err); !ok || p.Kind != ipc.KindInternal {
		t.Errorf("without a part: %v", err)
	}
	l.caches.Drop(write("x"))
	gone(part)
	if text, _ := l.read(t, ipc.CacheQuery{}); text != "[1]" {
		t.Errorf("the data is %q", text)
	}
}

func TestFailure(t *testing.T) {
	at := time.Unix(7, 0)
	if e := Failure("J", ipc.Expired, nil, at); e != (ipc.CacheError{Kind: ipc.KindInternal, Message: "expired", Job: "J", At: at.UTC()}) {
		t.Errorf("%+v", e)
	}
	e := Failure("J", ipc.Failed, &ipc.JobError{Kind: ipc.KindExitStatus, Message: "exit status 3"}, at)
	if e.Kind != ipc.KindExitStatus || e.Message != "exit status 3" {
		t.Errorf("%+v", e)
	}
}
