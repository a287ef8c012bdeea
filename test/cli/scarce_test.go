package cli

import (
	"net"
	"os/exec"
	"testing"
	"time"

	"dispatchd/ipc"
)

// With 64 descriptors for everything the daemon answers as long as it can, puts
// starts off instead of failing jobs, and recovers when descriptors are free.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	b := newBox(t, map[string]string{"op": "max_queue = 0\nqueue_timeout = 0\nscript = 'echo ran'\n", "direct": "max_queue = 0\nqueue_timeout = 0\nsurvive_restart = false\nscript = 'echo ran'\n"},
		func(cmd *exec.Cmd) {
			cmd.Path = "/bin/sh"
			cmd.Args = append([]string{"sh", "-c", `ulimit -n 64 && exec "$@"`, "sh"}, cmd.Args...)
		})
	var ids []string
	notify := func() {
		for _, name := range []string{"op", "direct"} {
			n, err := b.Client.Notify(t.Context(), ipc.NotifyRequest{Dispatcher: name})
			if err == nil {
				ids = append(ids, n.ID)
			}
		}
	}
	notify()
	var held []net.Conn
	for range 200 {
		c, err := net.DialTimeout("unix", b.Client.Socket, time.Second)
		if err != nil {
			break
		}
		held = append(held, c)
	}
	t.Logf("%d connections", len(held))
	for range 5 {
		if h, err := b.Client.Health(t.Context()); err == nil && h.Status != "ok" {
			t.Errorf("health: %+v", h)
		}
	}
	before := len(ids)
	notify() // on the connection that is open already
	if len(ids) == before {
		t.Error("nothing was accepted while descriptors were short")
	}
	for _, c := range held {
		_ = c.Close()
	}
	notify()
	if len(ids) < 2 {
		t.Fatal("nothing was accepted")
	}
	for _, id := range ids {
		if job := b.Await(id); job.State != ipc.Succeeded {
			t.Errorf("job: %s %+v", job.State, job.Error)
		}
	}
}
