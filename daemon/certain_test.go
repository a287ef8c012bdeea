package daemon

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"dispatchd/daemon/internal/store"
	"dispatchd/dispatchers/mode"
	"dispatchd/ipc"
)

// hold keeps the journal's writer from its work until the channel is closed.
// What is on its way to it gets there first: a start as well.
func (s *stage) hold() chan struct{} {
	synctest.Wait()
	gate := make(chan struct{})
	s.disk.Append(store.Record{Op: store.OpResume, Dispatcher: "nobody"}, mode.Relaxed, true, func(error) { <-gate })
	synctest.Wait()
	return gate
}

// ask runs one call in a goroutine and gives what it answers.
func ask[T any](t *testing.T, call func() (T, error)) <-chan T {
	ch := make(chan T, 1)
	go func() {
		v, err := call()
		if err != nil {
			t.Error(err)
		}
		ch <- v
	}()
	synctest.Wait()
	return ch
}

// Nobody is told of an end that a crash could still take back.
func TestEndIsToldWhenDurable(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "script = 'x'\n"}, func(string, int) act { return act{lasts: time.Second} })
		defer s.strike()
		const key = "k"
		notify := func() (ipc.Notified, error) {
			return s.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op", IdempotencyKey: key})
		}
		n, err := notify()
		if err != nil {
			t.Fatal(err)
		}
		gate := s.hold()
		s.pass(2 * time.Second)
		told := []<-chan ipc.State{
			ask(t, func() (ipc.State, error) { j, err := s.Job(t.Context(), ipc.Peer{}, n.ID); return j.State, err }),
			ask(t, func() (ipc.State, error) { j, err := s.Await(t.Context(), ipc.Peer{}, n.ID); return j.State, err }),
			ask(t, func() (ipc.State, error) {
				list, err := s.Jobs(t.Context(), ipc.Peer{}, ipc.JobFilter{})
				return list[0].State, err
			}),
			ask(t, func() (ipc.State, error) { again, err := notify(); return again.State, err }),
		}
		for i, ch := range told {
			if len(ch) > 0 {
				t.Errorf("%d: told that it is %s before that is durable", i, <-ch)
			}
		}
		close(gate)
		for i, ch := range told {
			if state := <-ch; state != ipc.Succeeded {
				t.Errorf("%d: %s", i, state)
			}
		}
	})
}

// A repeated key of a notify that joined is answered when the joining is
// durable: a crash must not give the key to another job.
func TestJoinIsToldWhenDurable(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{"op": "script = 'x'\ncoalesce = true\n"}, func(string, int) act { return act{lasts: time.Hour} })
		defer s.strike()
		notify := func(key string) func() (ipc.Notified, error) {
			return func() (ipc.Notified, error) {
				return s.Notify(t.Context(), ipc.Peer{}, ipc.NotifyRequest{Dispatcher: "op", Arguments: json.RawMessage("1"), IdempotencyKey: key})
			}
		}
		for _, key := range []string{"runs", "queued"} {
			if _, err := notify(key)(); err != nil {
				t.Fatal(err)
			}
		}
		gate := s.hold()
		first, again := ask(t, notify("k")), ask(t, notify("k"))
		if len(first)+len(again) > 0 {
			t.Error("answered before it is durable")
		}
		close(gate)
		if a, b := <-first, <-again; a.ID != b.ID || !a.Coalesced {
			t.Errorf("%+v, %+v", a, b)
		}
	})
}
