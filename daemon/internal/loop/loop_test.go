package loop

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// count is a state: a number, and what happened to it.
type count struct {
	n      int
	events int
	log    []string
}

// within runs a test in a bubble with a loop that runs.
func within(t *testing.T, d Driver[count], test func(*testing.T, *Loop[count])) {
	synctest.Test(t, func(t *testing.T) {
		l := New(&count{}, d)
		go l.Run(nil)
		test(t, l)
	})
}

// get reads the number.
func get(t *testing.T, l *Loop[count]) (n int) {
	t.Helper()
	if err := l.View(t.Context(), func(c *count) { n = c.n }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDo(t *testing.T) {
	events := Driver[count]{After: func(c *count) { c.events++ }}
	within(t, events, func(t *testing.T, l *Loop[count]) {
		for range 3 {
			if err := l.Do(t.Context(), func(c *count) { c.n++ }); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 {
			if n := get(t, l); n != 3 {
				t.Errorf("the number is %d", n)
			}
		}
		l.Stop(func(c *count) {
			if c.events != 1+3 { // the start is one
				t.Errorf("%d events: a view is none", c.events)
			}
		})
		for _, call := range []func(context.Context, func(*count)) error{l.Do, l.View} {
			if err := call(t.Context(), func(*count) { t.Error("ran after the end") }); !errors.Is(err, ErrClosed) {
				t.Errorf("after the end: %v", err)
			}
		}
		if err := l.Until(t.Context(), func(*count) bool { return true }); !errors.Is(err, ErrClosed) {
			t.Errorf("Until after the end: %v", err)
		}
	})
}

// first runs before any event, and what it posts too.
func TestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(&count{}, Driver[count]{Due: func(c *count) bool { c.log = append(c.log, "due"); return true }})
		early := make(chan error, 1)
		go func() {
			early <- l.Do(t.Context(), func(c *count) { c.log = append(c.log, "event") })
		}()
		synctest.Wait()
		go l.Run(func(c *count) {
			l.Post(func(c *count) { c.log = append(c.log, "posted") })
			c.log = append(c.log, "first")
		})
		if err := <-early; err != nil {
			t.Fatal(err)
		}
		l.Stop(func(c *count) {
			if want := []string{"first", "posted", "due", "event"}; !slices.Equal(c.log, want) {
				t.Errorf("order %q, want %q", c.log, want)
			}
		})
	})
}

// A caller that is no longer there leaves its function out, but not one that
// has been handed over.
func TestDoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(&count{}, Driver[count]{})
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error, 1)
		for range requestQueue {
			go func() { _ = l.Do(context.Background(), func(c *count) { c.n++ }) }()
		}
		synctest.Wait() // the queue is full
		go func() { gaveUp <- l.Do(ctx, func(*count) { t.Error("ran though it was refused") }) }()
		synctest.Wait()
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		go l.Run(nil)
		synctest.Wait()
		if n := get(t, l); n != requestQueue {
			t.Errorf("%d of %d ran", n, requestQueue)
		}
		l.Stop()
	})
}

// The loop may post to itself; the order is kept.
func TestPost(t *testing.T) {
	within(t, Driver[count]{}, func(t *testing.T, l *Loop[count]) {
		add := func(s string) func(*count) { return func(c *count) { c.log = append(c.log, s) } }
		l.Post(func(c *count) {
			l.Post(add("c"))
			add("a")(c)
		})
		l.Post(add("b"))
		synctest.Wait()
		l.Stop(func(c *count) { l.Post(add("e")); add("d")(c) }, add("f"))
		l.Post(func(*count) { t.Error("ran after the end") })
		if got := l.state.log; !slices.Equal(got, []string{"a", "b", "c", "d", "e", "f"}) {
			t.Errorf("order %q", got)
		}
	})
}

// The loop wakes when Next says so, once, and sleeps without end when it says
// that only events matter.
func TestTimers(t *testing.T) {
	began := time.Time{}
	due := []time.Duration{time.Second, time.Minute, time.Hour}
	var met []time.Duration
	naps := 0
	d := Driver[count]{
		Next: func(*count) (time.Duration, bool) {
			if len(due) == 0 {
				return 0, false
			}
			return min(due[0]-time.Since(began), 40*time.Second), true
		},
		Due: func(c *count) bool {
			naps++
			for len(due) > 0 && time.Since(began) >= due[0] {
				met, due = append(met, time.Since(began)), due[1:]
				c.n++
			}
			return false
		},
	}
	synctest.Test(t, func(t *testing.T) {
		began = time.Now()
		l := New(&count{}, d)
		go l.Run(nil)
		time.Sleep(24 * time.Hour)
		if get(t, l) != 3 || !slices.Equal(met, []time.Duration{time.Second, time.Minute, time.Hour}) {
			t.Errorf("woke at %v", met)
		}
		if naps > 95 {
			t.Errorf("%d naps: the last instant was an hour from the start, in steps of 40 s", naps)
		}
		l.Stop()
	})
}

func TestUntil(t *testing.T) {
	within(t, Driver[count]{}, func(t *testing.T, l *Loop[count]) {
		three := make(chan error, 1)
		go func() { three <- l.Until(t.Context(), func(c *count) bool { return c.n >= 3 }) }()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		never := make(chan error, 1)
		go func() { never <- l.Until(ctx, func(*count) bool { return false }) }()
		atEnd := make(chan error, 1)
		go func() { atEnd <- l.Until(t.Context(), func(*count) bool { return false }) }()
		for i := range 3 {
			synctest.Wait()
			select {
			case err := <-three:
				t.Fatalf("after %d: %v", i, err)
			default:
			}
			l.Post(func(c *count) { c.n++ })
		}
		if err := <-three; err != nil {
			t.Error(err)
		}
		if err := l.Until(t.Context(), func(c *count) bool { return c.n == 3 }); err != nil {
			t.Errorf("what holds already: %v", err)
		}
		if err := <-never; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller that gave up: %v", err)
		}
		synctest.Wait()
		l.Stop(func(*count) {
			if len(l.waiters) != 1 {
				t.Errorf("%d waiters are listed, and one is left", len(l.waiters))
			}
		})
		if err := <-atEnd; !errors.Is(err, ErrClosed) {
			t.Errorf("at the end: %v", err)
		}
	})
}

// Whoever gets no error has had its function run, and whoever gets one has not:
// over a stop in the middle of many callers.
func TestDoAgainstStop(t *testing.T) {
	for range 200 {
		l := New(&count{}, Driver[count]{})
		go l.Run(nil)
		var ran, told atomic.Int64
		var callers sync.WaitGroup
		begin := make(chan struct{})
		for range 8 {
			callers.Go(func() {
				<-begin
				for range 50 {
					var err error
					mine := false
					do := func(c *count) { c.n++; mine = true; ran.Add(1) }
					if err = l.Do(t.Context(), do); err == nil {
						told.Add(1)
					}
					if (err == nil) != mine {
						t.Errorf("ran %t, told %v", mine, err)
					}
				}
			})
		}
		callers.Go(func() {
			<-begin
			for range 50 {
				l.Post(func(c *count) { c.events++ })
			}
		})
		close(begin)
		l.Stop()
		callers.Wait()
		if ran.Load() != told.Load() || l.state.n != int(ran.Load()) {
			t.Fatalf("%d ran, %d were told so, the state says %d", ran.Load(), told.Load(), l.state.n)
		}
		<-l.Done()
		<-l.Stopping()
	}
}
