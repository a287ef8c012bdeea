package daemon

import (
	"testing"
	"testing/synctest"
	"time"
)

// Memory is given back once, calm after the last event, and then nothing wakes
// the daemon until there is another one.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		epoch := time.Now()
		now := func() time.Duration { return time.Since(epoch) }
		m := newMemory()
		defer m.timer.Stop()
		rest := func() time.Duration {
			for {
				select {
				case <-m.timer.C:
					if m.rests(now()) {
						return now()
					}
				case <-time.After(time.Hour):
					return 0
				}
			}
		}
		time.Sleep(calm / 2)
		m.event(now())
		time.Sleep(calm / 4)
		m.event(now())
		if at, want := rest(), calm*3/4+calm; at != want {
			t.Errorf("memory is given back at %v, want %v", at, want)
		}
		if at := rest(); at != 0 {
			t.Errorf("woken at %v, though nothing happened", at)
		}
		again := now()
		m.event(again)
		if at, want := rest(), again+calm; at != want {
			t.Errorf("after another event memory is given back at %v, want %v", at, want)
		}
	})
}
