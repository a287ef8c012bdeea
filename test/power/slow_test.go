//go:build linux && power

package power

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// A disk whose flushes take long makes answers late and nothing else: many
// notifies share a flush, and who only looks is answered at once.
func TestSlowDisk(t *testing.T) {
	const flush, callers = 250 * time.Millisecond, 60
	dir := memory(t)
	b := newBox(t, simple())
	d := newDisk(t, dir, emptyImage(t, dir))
	mustMount(t, d.path, b.path("state"))
	defer unmount(t, b.path("state"))
	defer b.kill()
	b.rise(stock())
	d.slow(flush)
	to := newTold()
	var mu sync.Mutex
	var all sync.WaitGroup
	start := time.Now()
	for i := range callers {
		all.Go(func() {
			args := fmt.Sprintf(`{"i":%d}`, i)
			n, err := b.notify(t.Context(), "op", args, "")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			to.accepted[n.ID] = args
		})
	}
	var slowest time.Duration
	for range 20 {
		asked := time.Now()
		if _, err := b.client.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(asked))
	}
	all.Wait()
	took := time.Since(start)
	t.Logf("%d notifies took %s with flushes of %s each, a status at most %s", callers, took.Round(time.Millisecond), flush, slowest.Round(time.Millisecond))
	if took < flush || took > callers*flush/3 {
		t.Errorf("%d notifies took %s", callers, took)
	}
	if slowest > flush {
		t.Errorf("a status took %s", slowest)
	}
	d.slow(0)
	b.kill()
	if err := b.check(to); err != nil {
		t.Error(err)
	}
}
