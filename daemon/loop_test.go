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
		s.post(func() { <-gate })
		var clients sync.WaitGroup
		for range 2 * cap(s.calls) {
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

// What was put off is done also before the first event, and after the last one.
func TestChores(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "script = 'x'\n"}, func(string, int) act { return act{lasts: time.Second} })
		done := 0
		chore := func() { s.chores = append(s.chores, func() { done++ }) }
		if err := s.do(t.Context(), chore); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if done != 1 {
			t.Errorf("%d done after an event", done)
		}
		s.strike()
		s.post(chore)
		s.runPosted()
		if done != 2 {
			t.Errorf("%d done after the loop's end", done)
		}
		s.done, s.ended = make(chan struct{}), make(chan struct{})
		chore()
		go s.loop()
		synctest.Wait()
		close(s.done)
		<-s.ended
		if done != 3 {
			t.Errorf("%d done before the first event", done)
		}
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
			log, err := s.Log(ctx, n.ID, 0, true)
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = s.AwaitIdle(ctx) }()
			synctest.Wait()
			cancel()
			if err := log.Close(); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		s.notify("op") // an event
		synctest.Wait()
		s.look(func() {
			if len(s.waiters)+len(s.conditions) > 0 {
				t.Errorf("left behind: %d waiters, %d conditions", len(s.waiters), len(s.conditions))
			}
		})
	})
}
