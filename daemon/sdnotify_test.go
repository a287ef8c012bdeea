package daemon

import (
	"context"
	"strings"
	"testing"
	"time"

	"dispatchd/ipc"
	manager "dispatchd/test/box"
)

// A watchdog is answered by the loop, not beside it: one that hangs is silent.
func TestWatchdogOfAHungLoop(t *testing.T) {
	conn, path := manager.Datagrams(t)
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "20000")

	b := boxed(t, t.TempDir(), map[string]string{"op": "script = 'true'\n"})
	defer b.close()
	b.manager.ready(b.loop.Stopping())
	buf := make([]byte, 4096)
	until := func(want string) {
		t.Helper()
		for got := ""; !strings.HasPrefix(got, want); {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			got = string(buf[:n])
		}
	}
	until("READY=1\nSTATUS=idle; 1 dispatcher")
	until("WATCHDOG=1")
	gate, hung := make(chan struct{}), make(chan struct{})
	b.post(func(*state) { close(hung); <-gate })
	<-hung
	// Some answers may be on their way. One that is sent beside the loop never
	// ends, and a machine that is slow only makes the silence come later.
	silent := false
	for beats := 0; beats < 1000 && !silent; beats++ {
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		_, err := conn.Read(buf)
		silent = err != nil
	}
	if !silent {
		t.Error("a hung loop answers the watchdog")
	}
	_ = conn.SetReadDeadline(time.Time{})
	close(gate)
	until("WATCHDOG=1")
}

// text is the status text.
func text(s *stage) (text string) {
	s.t.Helper()
	if err := s.view(s.t.Context(), func(s *state) { text = viewing(s).statusText() }); err != nil {
		s.t.Fatal(err)
	}
	return text
}

// What the daemon says of itself, in words.
func TestStatusText(t *testing.T) {
	bubble(t, func(t *testing.T, root string) {
		s := set(t, root, map[string]string{
			"a": "script = 'x'\n", "b": "script = 'x'\n", "c": "script = 'x'\n", "d": "script = 'x'\n", "bad": "scrpt = 1\n",
		}, func(string, int) act { return act{lasts: time.Minute} })
		defer s.strike()
		if got, want := text(s), "idle; 4 dispatchers; 1 faulty: run dispatchctl doctor"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		for _, name := range []string{"b", "a", "a"} {
			s.notify(name)
		}
		if got, want := text(s), "running a, b; 1 queued; 4 dispatchers; 1 faulty: run dispatchctl doctor"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		s.notify("c")
		s.notify("d")
		if _, err := s.Drain(context.Background(), ipc.Peer{}, true); err != nil {
			t.Fatal(err)
		}
		if got, want := text(s), "draining; running a, b, c and 1 more; 1 queued; 4 dispatchers; 1 faulty: run dispatchctl doctor"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
