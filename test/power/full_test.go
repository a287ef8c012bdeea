//go:build linux && power

package power

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// crowd are callers on a disk that fills up.
type crowd struct {
	mu      sync.Mutex
	told    *told
	answers []answer
	bad     []string
}

// answer is one notify's: when it came, and why it was refused.
type answer struct {
	at  time.Time
	err error
}

// call asks until ctx is done. Every answer must be a job or a typed refusal.
func (c *crowd) call(ctx context.Context, b *stateBox, lane uint64) {
	rng := random(lane)
	for i := 0; ctx.Err() == nil; i++ {
		args := fmt.Sprintf(`{"caller":%d,"i":%d,"pad":%q}`, lane, i, strings.Repeat("x", rng.IntN(2000)))
		n, err := b.notify(context.WithoutCancel(ctx), "op", args, "")
		c.note(n.ID, args, err)
		if err == nil && rng.IntN(4) == 0 {
			c.wait(ctx, b, n.ID)
		}
		breathe(ctx, rng)
	}
}

// breathe is a caller's pause.
func breathe(ctx context.Context, rng *rand.Rand) {
	select {
	case <-time.After(time.Duration(rng.IntN(5)) * time.Millisecond):
	case <-ctx.Done():
	}
}

func (c *crowd) note(id, args string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers = append(c.answers, answer{time.Now(), err})
	if err == nil {
		c.told.accepted[id] = args
	} else if !is(err, ipc.KindJournalUnavailable) {
		c.bad = append(c.bad, err.Error())
	}
}

func (c *crowd) wait(ctx context.Context, b *stateBox, id string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	job, err := b.Client.Await(ctx, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && job.State.Final() {
		c.told.ended[id] = job.State
	}
}

// first waits for an answer after a time, and says how long that took.
func (c *crowd) first(since time.Time, fits func(answer) bool) time.Duration {
	for ; ; <-time.After(5 * time.Millisecond) {
		c.mu.Lock()
		i := slices.IndexFunc(c.answers, func(a answer) bool { return a.at.After(since) && fits(a) })
		var took time.Duration
		if i >= 0 {
			took = c.answers[i].at.Sub(since)
		}
		c.mu.Unlock()
		if i >= 0 {
			return took
		}
	}
}

// accepted and refused are what is waited for.
func accepted(a answer) bool { return a.err == nil }
func refused(a answer) bool  { return a.err != nil }

// counted are dispatchers whose jobs say that they ran, outside of the disks that are
// full.
func counted() map[string]string {
	const job = "max_queue = 0\nqueue_timeout = 0\nscript = 'echo $DISPATCHD_JOB_ID >>$BOX/ran; echo ran'\n"
	return map[string]string{"op": "survive_restart = false\nconcurrency = 4\n" + job, "shimmed": job}
}

// smallDisk is a running daemon whose state is on a file system of its own.
func smallDisk(t *testing.T) *stateBox {
	t.Helper()
	image := filepath.Join(memory(t), "image")
	if err := os.WriteFile(image, emptyImage(t, t.TempDir()), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBox(t, counted())
	mustMount(t, image, b.Path("state"))
	t.Cleanup(func() { b.kill(); unmount(t, b.Path("state")) })
	b.rise(stock(t))
	return b
}

// fillUp takes all space of a file system, and gives the file that has it.
func fillUp(dir string) (string, error) {
	path := filepath.Join(dir, "filler")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return path, err
	}
	size := int64(0)
	for step := int64(1 << 20); step >= 4096; {
		switch err := unix.Fallocate(int(f.Fd()), 0, size, step); {
		case err == nil:
			size += step
		case errors.Is(err, unix.ENOSPC):
			step /= 2
		case !errors.Is(err, unix.EINTR):
			return path, errors.Join(err, f.Close())
		}
	}
	return path, f.Close()
}

// quiet waits until everything that was accepted has ended.
func (b *stateBox) quiet(t *testing.T) {
	b.status(t, func(s ipc.Status) bool { return s.Queued+s.Running == 0 })
}

// status waits for a state of the daemon.
func (b *stateBox) status(t *testing.T, fits func(ipc.Status) bool) {
	t.Helper()
	for ; ; <-time.After(20 * time.Millisecond) {
		s, err := b.Client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if fits(s) {
			return
		}
	}
}

// putOff waits until nothing runs and jobs wait for a disk, which each of them says.
func (b *stateBox) putOff(t *testing.T) {
	t.Helper()
	b.status(t, func(s ipc.Status) bool { return s.Running == 0 && s.Queued > 0 })
	jobs, err := b.Client.Jobs(t.Context(), ipc.JobFilter{States: []ipc.State{ipc.Queued}, Limit: 20})
	if err != nil || len(jobs) == 0 {
		t.Fatalf("no job is queued: %v", err)
	}
	for _, j := range jobs {
		if j.WaitingFor == nil || j.WaitingFor.Reason != ipc.WaitDisk && j.WaitingFor.Reason != ipc.WaitTurn {
			t.Errorf("job %s waits for %+v, want %s", j.ID, j.WaitingFor, ipc.WaitDisk)
		}
	}
}

// ranOnce checks that every accepted job has succeeded, and ran once.
func (b *stateBox) ranOnce(t *testing.T, to *told) {
	t.Helper()
	text, err := os.ReadFile(b.Path("ran"))
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]int{}
	for id := range strings.FieldsSeq(string(text)) {
		ran[id]++
	}
	for id, job := range b.jobs() {
		if job.State != ipc.Succeeded || job.Attempt != 1 || ran[id] != 1 {
			t.Errorf("job %s is %s after %d attempts and %d runs: %+v", id, job.State, job.Attempt, ran[id], job.Error)
		}
	}
	if len(ran) < len(to.accepted) {
		t.Errorf("%d jobs ran, %d were accepted", len(ran), len(to.accepted))
	}
}

// A disk that is full for a while, under load: what runs ends, nothing is started and
// nothing is accepted that could be lost, and when there is space again all runs, and
// jobs are accepted.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	b := smallDisk(t)
	c := &crowd{told: newTold()}
	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	defer callers.Wait()
	defer stop()
	for i := range 6 {
		callers.Go(func() { c.call(ctx, b, uint64(100+i)) })
	}
	<-time.After(time.Second)
	filler, err := fillUp(b.Path("state"))
	if err != nil {
		t.Fatal(err)
	}
	full := c.first(time.Now(), refused)
	b.putOff(t)
	<-time.After(time.Duration(opt.full) * time.Second)
	if h, err := b.Client.Health(t.Context()); err != nil || h.Status != "degraded" {
		t.Errorf("health on a full disk: %+v, %v", h, err)
	}
	freed := time.Now()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	back := c.first(freed, accepted)
	<-time.After(time.Second)
	stop()
	callers.Wait()
	c.say(t, full, back)
	b.quiet(t)
	b.ranOnce(t, c.told)
	b.kill()
	if err := b.check(c.told); err != nil {
		t.Error(err)
	}
}

// A run directory that is full: jobs are accepted and wait, also over a crash, and each
// runs once when there is space.
func TestFullRunDirectory(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("a run directory of our own needs root")
	}
	b := newBox(t, counted())
	if err := os.Mkdir(b.Path("run"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", b.Path("run"), "tmpfs", 0, "size=2m,mode=755"); err != nil {
		t.Skipf("a run directory of our own needs the right to mount: %v", err)
	}
	t.Cleanup(func() { b.kill(); unmount(t, b.Path("run")) })
	b.rise(stock(t))
	to := newTold()
	if err := b.ask("a", 20, to); err != nil {
		t.Fatal(err)
	}
	filler, err := fillUp(b.Path("run"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		name := []string{"op", "shimmed"}[i%2]
		args := fmt.Sprintf(`{"f":%d}`, i)
		job, err := b.notify(t.Context(), name, args, "")
		if err != nil {
			t.Fatal(err)
		}
		to.accepted[job.ID] = args
	}
	b.putOff(t)
	b.kill()
	b.rise(stock(t))
	b.putOff(t)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	b.quiet(t)
	b.ranOnce(t, to)
	b.kill()
	if err := b.check(to); err != nil {
		t.Error(err)
	}
}

// say tells what happened.
func (c *crowd) say(t *testing.T, full, back time.Duration) {
	t.Helper()
	n := 0
	for _, a := range c.answers {
		if a.err != nil {
			n++
		}
	}
	t.Logf("%d jobs accepted, %d notifies refused; refused %s after the disk was full, accepted %s after there was space again",
		len(c.told.accepted), n, full.Round(time.Millisecond), back.Round(time.Millisecond))
	for _, text := range c.bad {
		t.Error(text)
	}
}
