//go:build linux && power

package power

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
)

// A full disk is no reason why a daemon could not stop in order, nor why the
// next one could not start: it knows all, says that it accepts nothing, and
// accepts again when there is space.
func TestFullDiskStop(t *testing.T) {
	t.Parallel()
	b := smallDisk(t)
	to := newTold()
	if err := b.ask("a", 40, to); err != nil {
		t.Fatal(err)
	}
	filler, err := fillUp(b.Path("state"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ { // there is space that was allocated ahead
		args := fmt.Sprintf(`{"b":%d,"pad":%q}`, i, strings.Repeat("x", 2000))
		job, err := b.notify(t.Context(), "op", args, "")
		if is(err, ipc.KindJournalUnavailable) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		to.accepted[job.ID] = args
	}
	b.putOff(t)
	start := time.Now()
	b.Stop() // with status 0
	took := time.Since(start)
	if err := b.compare(to); err != nil {
		t.Fatal(err)
	}
	if _, err := b.notify(t.Context(), "op", `{}`, ""); !is(err, ipc.KindJournalUnavailable) {
		t.Errorf("a daemon that started on a full disk answers %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	back, err := b.recovers("c", to)
	if err != nil {
		t.Error(err)
	}
	b.Stop()
	t.Logf("%d jobs; on a full disk it stopped in %s; the next accepted %s after there was space", len(to.accepted), took.Round(time.Millisecond), back.Round(time.Millisecond))
	if err := b.check(to); err != nil {
		t.Error(err)
	}
}

// failing stops a daemon while its calls fail, with ends of jobs that it could
// not write, and says whether it said so.
func failing(t *testing.T, p point) (said bool, err error) {
	b := newBox(t, map[string]string{"op": simple()["op"], "slow": "survive_restart = false\nscript = 'read x <$BOX/go'\n"})
	defer func() { _ = os.RemoveAll(b.Dir) }()
	defer b.kill()
	if err := syscall.Mkfifo(b.Path("go"), 0o600); err != nil {
		return false, err
	}
	to := newTold()
	b.rise(stock(t))
	l := b.Life
	if err := b.ask("a", 4, to); err != nil {
		return false, err
	}
	slow, err := b.notify(t.Context(), "slow", `{"s":1}`, "")
	if err != nil {
		return false, err
	}
	to.accepted[slow.ID] = `{"s":1}`
	pipe, err := os.OpenFile(b.Path("go"), os.O_WRONLY, 0) // waits until the job reads
	if err != nil {
		return false, err
	}
	detach, err := b.attach(p, l.Cmd.Process.Pid)
	if err != nil {
		return false, err
	}
	if err := pipe.Close(); err != nil { // the job ends, and its end cannot be written
		return false, err
	}
	if err := b.ask("b", 4, to); err != nil {
		return false, fmt.Errorf("%w\n%s", err, l.Err.String())
	}
	if err := b.end(l.Cmd.Process.Pid, syscall.SIGTERM); err != nil {
		return false, err
	}
	_ = detach() // it has ended with its tracee
	said = strings.Contains(l.Err.String(), "could not be written")
	if code := l.Code(); code != 0 && (code != 70 || !said) {
		return said, fmt.Errorf("stop: %v\n%s", l.Cmd.ProcessState, l.Err)
	}
	return said, b.check(to)
}

// A stop while nothing can be written ends, keeps what was answered, and
// says which ends it could not write.
func TestStopWhileCallsFail(t *testing.T) {
	t.Parallel()
	needAttach(t)
	const all = "write,fdatasync,fsync,fallocate,ftruncate,openat,renameat,linkat,unlinkat,mkdirat"
	said := 0
	for _, p := range []point{
		{"write", "ENOSPC", 0, false}, {"fdatasync", "EIO", 0, false}, {"write,openat", "EROFS", 0, false}, {all, "EIO", 0, false}, {all, "ENOSPC", 0, false},
	} {
		loud, err := failing(t, p)
		if err != nil {
			t.Errorf("%s: %v", p.name(), err)
		}
		if loud {
			said++
		}
	}
	if said < 3 {
		t.Errorf("only %d stops said what they could not write", said)
	}
	t.Logf("%d stops said what they could not write", said)
}
