package daemon

import (
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
