//go:build linux && power

package power

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// stateBox is a box whose state directory is on a disk of the test's own, or
// whose daemon's calls fail.
type stateBox struct {
	*box.Box
	stock string // the daemon as it is, which looks at what another one left
}

// newBox makes a root with these definitions.
func newBox(t *testing.T, definitions map[string]string) *stateBox {
	t.Helper()
	b := &stateBox{box.New(t, definitions), stock(t)}
	b.Prepare = func(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} } // so that a tracer does not die alone
	if err := os.Mkdir(b.Path("state"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.kill)
	return b
}

// start starts a daemon, under a tracer if there is one, and does not wait.
func (b *stateBox) start(program string, tracer ...string) *box.Process {
	b.T.Helper()
	b.Program = program
	l, err := b.Begin(tracer...)
	if err != nil {
		b.T.Fatal(err)
	}
	return l
}

// rise starts the daemon and waits until it is ready.
func (b *stateBox) rise(program string) {
	b.T.Helper()
	if err := b.start(program).Up(); err != nil {
		b.T.Fatal(err)
	}
}

// kill ends the daemon as a crash does, and its tracer with it.
func (b *stateBox) kill() {
	if b.Life != nil {
		_ = syscall.Kill(-b.Life.Cmd.Process.Pid, syscall.SIGKILL)
		<-b.Life.Dead
		b.Life = nil
	}
}

// notify asks for a run.
func (b *stateBox) notify(ctx context.Context, name, args, key string) (ipc.Notified, error) {
	return b.Client.Notify(ctx, ipc.NotifyRequest{Dispatcher: name, Arguments: []byte(args), IdempotencyKey: key})
}

// await waits for a job's end.
func (b *stateBox) await(ctx context.Context, id string) (ipc.Job, error) {
	return b.Client.Await(ctx, id)
}

// jobs lists all jobs by their ids. A daemon that has just started looks for what may
// be left of a job before it decides on it, and says running until then: jobs waits
// for that.
func (b *stateBox) jobs() map[string]ipc.Job {
	b.T.Helper()
	all := map[string]ipc.Job{}
	for before := ""; ; {
		page, err := b.Client.Jobs(b.T.Context(), ipc.JobFilter{Limit: 1000, Before: before, Fields: []string{"arguments", "result"}})
		if err != nil {
			b.T.Fatal(err)
		}
		for _, j := range page {
			if j.State == ipc.Running {
				j = b.settled(j)
			}
			all[j.ID] = j
		}
		if len(page) < 1000 {
			return all
		}
		before = page[len(page)-1].ID
	}
}

// settled waits until the daemon has decided on a job that may still run: what never
// comes is a finding.
func (b *stateBox) settled(job ipc.Job) ipc.Job {
	ctx, cancel := context.WithTimeout(b.T.Context(), time.Minute)
	defer cancel()
	if end, err := b.await(ctx, job.ID); err == nil {
		return end
	}
	return job
}

// is reports whether an error is of one of these kinds.
func is(err error, kinds ...ipc.Kind) bool {
	p, ok := errors.AsType[*ipc.Error](err)
	for _, k := range kinds {
		if ok && p.Kind == k {
			return true
		}
	}
	return false
}
