package daemon

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dispatchd/ipc"
)

// More clients than the loop's channel holds come at once, and each of their
// jobs is answered on the loop itself: it must not wait for room that only it
// can make.
func TestLoopNeverWaitsForItself(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := set(t, root, map[string]string{"op": "script = 'x'\ndurability = 'memory'\nmax_queue = 0\n"}, func(string, int) act {
			return act{lasts: time.Millisecond}
		})
		defer s.strike()
		gate := make(chan struct{})
		s.post(func(*state) { <-gate })
		var clients sync.WaitGroup
		for range 512 {
			clients.Go(func() {
				if _, err := s.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op"}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(gate)
		clients.Wait()
	})
}

// Who waits for a job's output or for the end of all work, and goes away, leaves
// nothing behind.
func TestWaitersLeave(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "script = 'x'\n"}, func(string, int) act { return act{lasts: time.Hour} })
		defer s.strike()
		n := s.notify("op")
		synctest.Wait()
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			log, err := s.Log(ctx, ipc.Peer{}, n.ID, 0, true)
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = s.AwaitIdle(ctx, ipc.Peer{}) }()
			synctest.Wait()
			cancel()
			if err := log.Close(); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		s.notify("op") // an event
		synctest.Wait()
		_ = s.view(t.Context(), func(s *state) {
			if len(s.waiters) > 0 {
				t.Errorf("left behind: %d waiters", len(s.waiters))
			}
		})
	})
}
