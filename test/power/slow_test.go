//go:build linux && power

package power

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// A disk whose flushes take long makes answers late and nothing else: many
// notifies share a flush, and a status does not wait for one.
func TestSlowDisk(t *testing.T) {
	const flush, callers = 250 * time.Millisecond, 60
	dir := memory(t)
	b := newBox(t, simple())
	d := newDisk(t, dir, emptyImage(t, dir))
	mustMount(t, d.path, b.Path("state"))
	defer unmount(t, b.Path("state"))
	defer b.kill()
	b.rise(stock(t))
	looked(t, b, d)
	d.slow(flush)
	before := d.flushes()
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
	all.Wait()
	took := time.Since(start)
	t.Logf("%d notifies took %s with flushes of %s each", callers, took.Round(time.Millisecond), flush)
	if took < flush {
		t.Errorf("%d notifies took %s: somebody was answered before a flush", callers, took)
	}
	if shared := d.flushes() - before; shared > callers/2 {
		t.Errorf("%d notifies took %d flushes: they do not share them", callers, shared)
	}
	d.slow(0)
	b.kill()
	if err := b.check(to); err != nil {
		t.Error(err)
	}
}

// looked asks for the status while no flush ends: it is answered, and a notify is
// not, until the flush has ended.
func looked(t *testing.T, b *stateBox, d *disk) {
	t.Helper()
	release := d.stall()
	answered := make(chan error, 1)
	go func() {
		_, err := b.notify(t.Context(), "op", `{}`, "")
		answered <- err
	}()
	for range 20 {
		if _, err := b.Client.Status(t.Context()); err != nil {
			t.Error(err)
		}
	}
	select {
	case err := <-answered:
		t.Errorf("a notify was answered before its flush: %v", err)
		release()
	default:
		release()
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
}
