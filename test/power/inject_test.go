//go:build linux && power

package power

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/test/box"
)

// point is a call that fails: the Nth of a thread, or all from then on.
type point struct {
	call, err string
	n         int
	every     bool // also where it has nothing to do with the state directory
}

// name says which.
func (p point) name() string { return fmt.Sprintf("%s,%s,%d,%v", p.call, p.err, p.n, p.every) }

// calls are those by which a daemon uses its disk, with the errors they can
// give there.
func calls() map[string][]string {
	space := []string{"ENOSPC", "EIO", "EROFS"}
	return map[string][]string{
		"openat": {"EMFILE", "ENOSPC", "EIO", "EROFS"}, "write": space, "fallocate": space, "ftruncate": space,
		"fdatasync": {"EIO", "ENOSPC"}, "fsync": {"EIO", "ENOSPC"}, "renameat": space, "linkat": space, "unlinkat": space, "mkdirat": space,
		"newfstatat": {"EIO"}, "fstat": {"EIO"}, "read": {"EIO"}, "pread64": {"EIO"}, "close": {"EIO"}, "flock": {"EIO"}, "fcntl": {"EMFILE"},
	}
}

// byPath reports whether a call has nothing to do with what Go's runtime does
// for itself: it ends the program where it cannot read what wakes it up.
func byPath(call string) bool {
	return !slices.Contains([]string{"read", "pread64", "write", "close", "fcntl"}, call)
}

// points are all of them in an order of their own.
func points(lane uint64, most int) []point {
	var all []point
	for call, errs := range calls() {
		for _, err := range errs {
			for n := 1; n <= most; n++ {
				all = append(all, point{call, err, n, false})
				if byPath(call) {
					all = append(all, point{call, err, n, true})
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b point) int { return strings.Compare(a.name(), b.name()) }) // a map has no order
	random(lane).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// faults are the calls that a journal in use makes, alone and with those by
// which a broken one is written anew, each with each error.
func faults(lane uint64) []point {
	var all []point
	for _, call := range []string{
		"write", "fdatasync", "write,openat", "write,unlinkat", "fdatasync,fallocate", "fdatasync,renameat", "fdatasync,fsync",
		"write,fdatasync,fsync,fallocate,ftruncate,openat,renameat,linkat,unlinkat,mkdirat",
	} {
		for n, err := range []string{"EIO", "ENOSPC", "EROFS"} {
			all = append(all, point{call, err, n, false})
		}
	}
	random(lane).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// strace is how to trace a daemon's calls so that this one fails.
func (b *stateBox) strace(p point, when string) []string {
	argv := []string{"strace", "-f", "-o", b.Path("calls"), "-e", "trace=" + p.call, "-e", "inject=" + p.call + ":error=" + p.err + ":when=" + when}
	if p.every {
		return argv
	}
	for _, name := range []string{"", "journal", "journal.new", "id", "id.new", "lock", "lock.start", "logs"} {
		argv = append(argv, "-P", filepath.Join(b.Path("state"), name))
	}
	return argv
}

// hits counts the calls that were failed.
func (b *stateBox) hits() int {
	text, err := os.ReadFile(b.Path("calls"))
	if err != nil {
		return 0
	}
	return strings.Count(string(text), "(INJECTED)")
}

// needStrace skips where there is no strace that can fail calls.
func needStrace(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("strace", "-qq", "-o", os.DevNull, "-e", "inject=mkdirat:error=EIO", "/bin/true").CombinedOutput(); err != nil {
		t.Skipf("failing calls need strace: %v %s", err, out)
	}
}

// needAttach skips where strace may not attach to a daemon that runs.
func needAttach(t *testing.T) {
	t.Helper()
	needStrace(t)
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	tracer := exec.Command("strace", "-o", os.DevNull, "-e", "trace=none", "-p", fmt.Sprint(cmd.Process.Pid))
	stderr, err := tracer.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tracer.Start(); err != nil {
		t.Skipf("failing calls need strace: %v", err)
	}
	line, _ := bufio.NewReader(stderr).ReadString('\n')
	_ = tracer.Process.Signal(syscall.SIGTERM)
	_ = tracer.Wait()
	if !strings.Contains(line, "attached") {
		t.Skipf("failing calls need a strace that may attach: %s", line)
	}
}

// told is what the callers of one box were told.
type told struct {
	accepted map[string]string    // arguments by job
	ended    map[string]ipc.State // by job
	typed    int                  // refusals
	full     int                  // of them: the journal cannot be written
}

func newTold() *told { return &told{accepted: map[string]string{}, ended: map[string]ipc.State{}} }

// simple is a dispatcher whose jobs cost little.
func simple() map[string]string {
	return map[string]string{"op": "max_queue = 0\nqueue_timeout = 0\nsurvive_restart = false\nconcurrency = 4\nscript = 'echo ran'\n"}
}

// ask asks for some jobs and for their ends. Each call must be answered, with a
// job or with a reason that a program understands.
func (b *stateBox) ask(tag string, n int, to *told) error {
	for i := range n {
		args := fmt.Sprintf(`{"%s":%d}`, tag, i)
		job, err := b.notify(b.T.Context(), "op", args, fmt.Sprintf("%s%d", tag, i))
		if _, typed := errors.AsType[*ipc.Error](err); err != nil && (!typed || is(err, ipc.KindUnavailable)) {
			return fmt.Errorf("notify: %w", err)
		}
		if err != nil {
			to.typed++
			if is(err, ipc.KindJournalUnavailable) {
				to.full++
			}
			continue
		}
		to.accepted[job.ID] = args
		if i%2 == 0 {
			continue
		}
		// It may not end while nothing can be written, and nothing starts.
		ctx, cancel := context.WithTimeout(b.T.Context(), 300*time.Millisecond)
		end, err := b.Client.Await(ctx, job.ID)
		late := ctx.Err() != nil
		cancel()
		if err == nil && end.State.Final() {
			to.ended[job.ID] = end.State
		} else if is(err, ipc.KindUnavailable) && !late {
			return fmt.Errorf("await: %w", err)
		}
	}
	return nil
}

// recovers waits until a job is accepted, and says how long that took.
func (b *stateBox) recovers(tag string, to *told) (time.Duration, error) {
	start := time.Now()
	for i := 0; ; i++ {
		args := fmt.Sprintf(`{"%s":%d}`, tag, i)
		job, err := b.notify(b.T.Context(), "op", args, "")
		if err == nil {
			to.accepted[job.ID] = args
			return time.Since(start), nil
		}
		if b.Life != nil && box.Over(b.Life.Dead) {
			return 0, fmt.Errorf("it ended instead of recovering: %w", err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// check starts a daemon that nothing is done to and holds it against what
// callers were told.
func (b *stateBox) check(to *told) error {
	if err := b.compare(to); err != nil {
		return err
	}
	_, err := b.recovers("last", to)
	return err
}

// compare starts a daemon and holds what it knows against what callers were
// told.
func (b *stateBox) compare(to *told) error {
	l := b.start(b.stock)
	if err := l.Up(); err != nil {
		return err
	}
	if strings.Contains(l.Err.String(), "DAMAGED") {
		return errors.New(l.Err.String())
	}
	jobs := b.jobs()
	for id, args := range to.accepted {
		job, known := jobs[id]
		switch {
		case !known:
			return fmt.Errorf("job %s was accepted and is lost", id)
		case string(job.Arguments) != args:
			return fmt.Errorf("job %s: %s instead of %s", id, job.Arguments, args)
		case to.ended[id] != "" && job.State != to.ended[id]:
			return fmt.Errorf("job %s: its end was told as %s, it is %s", id, to.ended[id], job.State)
		}
	}
	return nil
}

// end ends the daemon that strace traces: in order, or as a crash does.
func (b *stateBox) end(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil {
		return err
	}
	<-b.Life.Dead
	b.Life = nil
	return nil
}

// worded reports whether a daemon that did not start said why: as a program
// does, or of its settings as a compiler does.
func worded(log string) bool {
	return (strings.Contains(log, "dispatchd: ") || strings.Contains(log, "dispatchd.toml: ")) && !strings.Contains(log, "goroutine ")
}

// once fails the Nth call of each thread in a daemon's whole life.
func once(t *testing.T, p point) (hits int, refused bool, err error) {
	b := newBox(t, simple())
	defer func() { _ = os.RemoveAll(b.Dir) }()
	defer b.kill()
	to := newTold()
	l := b.start(stock(t), b.strace(p, fmt.Sprint(p.n))...)
	said := func(err error) (int, bool, error) {
		return b.hits(), refused, fmt.Errorf("%w\n%s", err, l.Err.String())
	}
	if failed := l.Up(); failed != nil {
		refused = true
		if !worded(l.Err.String()) {
			return said(errors.New("it does not start, and does not say why in words"))
		}
		return b.hits(), true, b.check(to)
	}
	status, err := b.Client.Status(t.Context())
	if err != nil {
		return said(err)
	}
	if len(status.Disabled)+len(status.Warnings) > 0 { // its file could not be read: that is mended by a reload
		if _, err := b.Client.Reload(t.Context(), false); err != nil {
			return said(err)
		}
	}
	if err := b.ask("a", 6, to); err != nil {
		return said(err)
	}
	if _, err := b.recovers("b", to); err != nil {
		return said(err)
	}
	if err := b.end(status.PID, []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}[p.n%2]); err != nil {
		return said(err)
	}
	if b.hits() == 0 {
		return 0, false, nil
	}
	if err := b.check(to); err != nil {
		return said(err)
	}
	return b.hits(), false, nil
}

// A call that fails now and then: the daemon answers truthfully or not at all,
// and goes on; or it says why it cannot start, and the next start is well.
func TestCallFailsOnce(t *testing.T) {
	t.Parallel()
	needStrace(t)
	tried, hits, refused := 0, 0, 0
	for _, p := range points(3, max(12, opt.points/10)) {
		if tried >= opt.points {
			break
		}
		n, no, err := once(t, p)
		if err != nil {
			t.Errorf("seed %d: %s: %v", opt.seed, p.name(), err)
		}
		if n > 0 {
			tried++
		}
		hits += n
		if no {
			refused++
		}
	}
	t.Logf("%d points, %d failed calls; %d starts said why they could not be", tried, hits, refused)
	if hits < tried || tried == 0 {
		t.Errorf("only %d calls failed", hits)
	}
}

// attach lets a running daemon's calls fail, until the function that it gives
// is called.
func (b *stateBox) attach(p point, pid int) (func() error, error) {
	argv := append(b.strace(p, "1+"), "-p", fmt.Sprint(pid))
	cmd := exec.Command(argv[0], argv[1:]...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.Contains(lines.Text(), fmt.Sprintf("Process %d attached", pid)) {
			break
		}
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for lines.Scan() {
			continue
		}
	}()
	return func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		<-over
		_ = cmd.Wait() // by a signal
		return nil
	}, nil
}

// lasting fails all calls of a kind for a while.
func lasting(t *testing.T, p point) (hits int, to *told, took time.Duration, err error) {
	b := newBox(t, simple())
	defer func() { _ = os.RemoveAll(b.Dir) }()
	defer b.kill()
	to = newTold()
	b.rise(stock(t))
	l := b.Life
	said := func(err error) (int, *told, time.Duration, error) {
		return b.hits(), to, took, fmt.Errorf("%w\n%s", err, l.Err.String())
	}
	if err := b.ask("a", 3, to); err != nil {
		return said(err)
	}
	detach, err := b.attach(p, l.Cmd.Process.Pid)
	if err != nil {
		return said(err)
	}
	err = b.ask("b", 6, to)
	_, well := b.Client.Health(t.Context())
	if err := errors.Join(err, well, detach()); err != nil {
		return said(err)
	}
	if took, err = b.recovers("c", to); err != nil {
		return said(err)
	}
	if p.n%2 == 0 {
		b.Stop()
	} else {
		b.kill()
	}
	if err := b.check(to); err != nil {
		return said(err)
	}
	return b.hits(), to, took, nil
}

// All calls of a kind fail for a while: nothing is confirmed that is not so, the
// daemon lives, and recovers by itself when the fault has ended.
func TestCallsFail(t *testing.T) {
	t.Parallel()
	needAttach(t)
	tried, hits, typed, full := 0, 0, 0, 0
	var slowest time.Duration
	for _, p := range faults(4) {
		if tried >= opt.points {
			break
		}
		tried++
		n, to, took, err := lasting(t, p)
		if err != nil {
			t.Errorf("seed %d: %s: %v", opt.seed, p.name(), err)
		}
		if n == 0 || to.full == 0 {
			t.Errorf("seed %d: %s: %d calls failed, and nobody was told that the journal cannot be written", opt.seed, p.name(), n)
		}
		hits, typed, full, slowest = hits+n, typed+to.typed, full+to.full, max(slowest, took)
	}
	t.Logf("%d faults, %d failed calls; %d notifies were refused, %d of them for the journal; the slowest recovery took %s", tried, hits, typed, full, slowest)
}
