package output

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// job is the other side of a keeper: what a job has.
type job struct {
	t *testing.T
	*Keeper
	path   string
	stdout *os.File
	stderr *os.File
}

// newJob makes a keeper of a log that keeps max bytes, and perhaps of data.
func newJob(t *testing.T, f Files) *job {
	t.Helper()
	if f.Log == "" {
		f.Log = filepath.Join(t.TempDir(), "log")
	}
	k, stdout, stderr, err := New(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	j := &job{t: t, Keeper: k, path: f.Log, stderr: os.NewFile(uintptr(stderr), "stderr")}
	if j.stdout = j.stderr; stdout != stderr {
		j.stdout = os.NewFile(uintptr(stdout), "stdout")
	}
	t.Cleanup(func() { _, _ = j.stdout.Close(), j.stderr.Close() })
	return j
}

// print prints, while the keeper reads.
func (j *job) print(text string) {
	j.t.Helper()
	for part := []byte(text); len(part) > 0; {
		n, err := j.stderr.Write(part[:min(len(part), 32<<10)])
		if err != nil {
			j.t.Fatal(err)
		}
		part = part[n:]
		j.Out.Copy()
	}
}

// file is what the log has.
func (j *job) file() string {
	j.t.Helper()
	text, err := os.ReadFile(j.path)
	if err != nil {
		j.t.Fatal(err)
	}
	return string(text)
}

// What was printed before the end is in the log when the end is told, and a job
// without rest closes the pipe.
func TestKeeper(t *testing.T) {
	j := newJob(t, Files{MaxLog: 1000})
	j.print("one\n")
	if _, err := j.stdout.WriteString("two\n"); err != nil {
		t.Fatal(err)
	}
	if !IsHeld(j.path) {
		t.Error("nobody sees that the log is written to")
	}
	if got := j.Drain(); got != (Totals{Bytes: 8, Open: true}) || j.file() != "one\ntwo\n" {
		t.Errorf("%+v, %q", got, j.file())
	}
	_ = j.stderr.Close()
	j.Run()
	if j.IsOpen() || IsHeld(j.path) {
		t.Error("it is kept without a writer")
	}
}

// A job opens its output by name in every way that a shell has, and none takes
// anything away. Sizes are not its to set.
func TestOpenByName(t *testing.T) {
	j := newJob(t, Files{MaxLog: 1000})
	j.print("one\n")
	name := fmt.Sprintf("/dev/fd/%d", j.stderr.Fd())
	for _, how := range []int{os.O_WRONLY | os.O_TRUNC | os.O_CREATE, os.O_WRONLY | os.O_APPEND, os.O_RDWR} {
		f, err := os.OpenFile(name, how, 0o666)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("more\n"); err != nil {
			t.Error(err)
		}
		if err := unix.Ftruncate(int(f.Fd()), 0); err == nil {
			t.Error("it could be truncated")
		}
		_ = f.Close()
	}
	_ = j.stderr.Close()
	j.Drain()
	if got, want := j.file(), "one\nmore\nmore\nmore\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The pipe belongs to the job's user, and whoever that becomes can write to it.
func TestOwner(t *testing.T) {
	j := newJob(t, Files{Owner: &Owner{os.Geteuid(), os.Getegid()}})
	var st unix.Stat_t
	if err := unix.Fstat(int(j.stderr.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o777 != 0o622 {
		t.Errorf("user %d, mode %o", st.Uid, st.Mode)
	}
	if os.Geteuid() == 0 {
		j = newJob(t, Files{Owner: &Owner{12345, 54321}})
		if err := unix.Fstat(int(j.stderr.Fd()), &st); err != nil || st.Uid != 12345 || st.Gid != 54321 {
			t.Errorf("user %d, group %d, %v", st.Uid, st.Gid, err)
		}
	}
}

// However a long output comes, head and tail are kept exactly, the length counts,
// and the disk never holds more than the bound and a step.
func TestBound(t *testing.T) {
	const max = 16 * page
	for _, piece := range []int{100, page, 3*page + 1, 200000} {
		j := newJob(t, Files{MaxLog: max})
		var all strings.Builder
		for i := 0; all.Len() < 40*max; i++ {
			part := strings.Repeat(fmt.Sprintf("%09d\n", i), piece/10)
			all.WriteString(part)
			j.print(part)
			if use := blocks(t, j.path); use > max+max/4+bufferSize+2*page {
				t.Fatalf("pieces of %d: %d bytes on disk after %d", piece, use, all.Len())
			}
		}
		if j.log.solid {
			t.Skip("this file system makes no holes")
		}
		_ = j.stderr.Close()
		size := int64(all.Len())
		if got := j.Drain(); got != (Totals{Bytes: size, Dropped: size - max}) {
			t.Errorf("pieces of %d: %+v", piece, got)
		}
		if use := blocks(t, j.path); use > max+2*page {
			t.Errorf("pieces of %d: %d bytes on disk in the end", piece, use)
		}
		got, head, tail := j.file(), int64(max/2), size-max/2
		if int64(len(got)) != size || got[:head] != all.String()[:head] || got[tail:] != all.String()[tail:] {
			t.Errorf("pieces of %d: head or tail changed", piece)
		}
	}
}

// Where files have no holes the tail is short, and the file no longer than the
// bound, a step and two short tails take.
func TestBoundWithoutHoles(t *testing.T) {
	const max = 100 * page
	j := newJob(t, Files{MaxLog: max})
	j.log.solid = true
	var all strings.Builder
	for i := 0; all.Len() < 40*max; i++ {
		part := strings.Repeat(fmt.Sprintf("%09d\n", i), 50)
		all.WriteString(part)
		j.print(part)
	}
	got := j.Drain()
	size := int64(all.Len())
	if got.Bytes != size || got.Dropped != size-2*maxHeld || !got.Open {
		t.Errorf("%+v of %d", got, size)
	}
	head, tail := Kept(size, got.Bytes-got.Dropped)
	file := j.file()
	if int64(len(file)) != size || file[:head] != all.String()[:head] || file[tail:] != all.String()[tail:] {
		t.Error("head or tail changed")
	}
	if use := blocks(t, j.path); use > max+maxHeld+2*page {
		t.Errorf("%d bytes on disk", use)
	}
	// What is left behind goes on.
	j.print("the end\n")
	_ = j.stderr.Close()
	j.Run()
	if file := j.file(); !strings.HasSuffix(file, "the end\n") || int64(len(file)) != size+8 {
		t.Errorf("%d bytes, %q", len(file), file[len(file)-20:])
	}
}

// A disk that takes nothing costs output, never the job, and the log says so when
// it can be written again. RLIMIT_FSIZE plays the disk: EFBIG.
func TestFullDisk(t *testing.T) {
	j := newJob(t, Files{MaxLog: 1 << 20})
	j.print("before\n")
	fd := j.log.fd
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = full.Close() }()
	j.log.fd = int(full.Fd())
	j.print("lost, and ")
	j.print("lost at once\n")
	j.log.fd = fd
	if got := j.log.Totals(); got.Lost != 23 || got.Dropped != 23 || got.Bytes != 30 || got.Warning != "23 bytes of the output were lost: no space left on device" {
		t.Errorf("%+v", got)
	}
	j.log.retry = j.log.look.Add(-lookEvery) // the moment is over
	j.print("after\n")
	_ = j.stderr.Close()
	got := j.Drain()
	if want := "before\n\n[… 23 bytes lost: no space left on device …]\nafter\n"; j.file() != want {
		t.Errorf("%q, want %q", j.file(), want)
	}
	if got.Lost != 23 || got.Bytes != 36 || got.Open {
		t.Errorf("%+v", got)
	}
}

// A log that cannot even be made costs no job, and one that can be later has the
// rest.
func TestLogThatCannotBeOpened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	j := newJob(t, Files{Log: filepath.Join(dir, "log"), MaxLog: 1000})
	j.print("nowhere\n")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	_ = j.stderr.Close()
	got := j.Drain()
	if got.Lost != 8 || got.Bytes != 8 || j.file() != "\n[… 8 bytes lost: no such file or directory …]\n" {
		t.Errorf("%+v, %q", got, j.file())
	}
}

// A log that is removed or renamed while the job runs is made again, and says so. A
// link in its place is not followed.
func TestLogTakenAway(t *testing.T) {
	for name, take := range map[string]func(path string) error{
		"removed": os.Remove,
		"renamed": func(path string) error { return os.Rename(path, path+".1") },
	} {
		j := newJob(t, Files{MaxLog: 1000})
		j.print("before\n")
		if err := take(j.path); err != nil {
			t.Fatal(err)
		}
		_ = j.stderr.Close()
		if got := j.Drain(); got.Bytes != 7 || got.Lost != 7 {
			t.Errorf("%s: %+v", name, got)
		}
		if want := "\n[… 7 bytes lost: the log was removed or renamed while the job ran …]\n"; j.file() != want {
			t.Errorf("%s: %q", name, j.file())
		}
	}
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	j := newJob(t, Files{Log: filepath.Join(dir, "log")})
	j.print("text\n")
	if got := j.Drain(); got.Lost != 5 || blocks(t, target) != 0 {
		t.Errorf("%+v, %d bytes in the target", got, blocks(t, target))
	}
}

// What a job left behind does not bring back a log that retention has removed, and
// is not ended by that.
func TestLogRemovedAfterTheEnd(t *testing.T) {
	j := newJob(t, Files{MaxLog: 1000})
	j.print("before\n")
	j.Drain()
	if err := os.Remove(j.path); err != nil {
		t.Fatal(err)
	}
	j.log.look = j.log.look.Add(-2 * lookEvery)
	j.print("after\n")
	if _, err := os.Lstat(j.path); !errors.Is(err, os.ErrNotExist) || j.log.fd >= 0 {
		t.Errorf("the log is there again: %v; descriptor %d", err, j.log.fd)
	}
}

// Data is cut at a byte more than its bound, and a disk that did not take all of it
// is told.
func TestData(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	j := newJob(t, Files{MaxLog: 1000, Data: data, MaxData: 10})
	if _, err := j.stdout.WriteString("0123456789abcdef"); err != nil {
		t.Fatal(err)
	}
	j.print("says\n")
	_, _ = j.stdout.Close(), j.stderr.Close()
	if got := j.Drain(); got != (Totals{Bytes: 5}) {
		t.Errorf("%+v", got)
	}
	if text, err := os.ReadFile(data); string(text) != "0123456789a" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	full, err := unix.Open("/dev/full", unix.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	j = newJob(t, Files{MaxLog: 1000, Data: data + "2", MaxData: 10})
	_ = unix.Close(j.data.fd)
	j.data.fd = full
	if _, err := j.stdout.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	if got := j.Drain(); got.Data != "no space left on device" {
		t.Errorf("%+v", got)
	}
}

// A keeper that goes to another program goes on there, and the first one closes
// nothing of it.
func TestHand(t *testing.T) {
	j := newJob(t, Files{MaxLog: 1000, Data: filepath.Join(t.TempDir(), "data"), MaxData: 10})
	j.print("one\n")
	if _, err := j.stdout.WriteString("1"); err != nil {
		t.Fatal(err)
	}
	j.DataOut.Copy()
	h, fds := j.Hand(func(_, fd int) int {
		again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		return again
	})
	if len(fds) != 4 {
		t.Errorf("%d descriptors", len(fds))
	}
	j.Close()
	j.Keeper = Take(h)
	if !IsHeld(j.path) {
		t.Error("the log is not held any more")
	}
	j.print("two\n")
	if _, err := j.stdout.WriteString("2"); err != nil {
		t.Fatal(err)
	}
	_, _ = j.stdout.Close(), j.stderr.Close()
	if got := j.Drain(); got != (Totals{Bytes: 8}) || j.file() != "one\ntwo\n" {
		t.Errorf("%+v, %q", got, j.file())
	}
	j.Close()
}

// The runtime's poller waits as well as poll(2) does.
func TestFollow(t *testing.T) {
	j := newJob(t, Files{MaxLog: 1 << 20})
	j.Out.Watch()
	done := make(chan struct{})
	go func() { j.Out.Follow(); close(done) }()
	line := []byte("0123456789\n")
	for range 20000 {
		if _, err := j.stderr.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	j.Out.Interrupt()
	<-done
	if got := j.Drain(); !got.Open || got.Bytes != 20000*11 {
		t.Errorf("%+v", got)
	}
	done = make(chan struct{})
	go func() { j.Out.Follow(); close(done) }()
	<-done // what was interrupted before it began ends at once: else a short job would never end
	done = make(chan struct{})
	j.Out.Resume()
	go func() { j.Out.Follow(); close(done) }()
	if _, err := j.stderr.Write(line); err != nil {
		t.Fatal(err)
	}
	_ = j.stderr.Close()
	<-done
	if want := bytes.Repeat(line, 20001); j.file() != string(want) || j.IsOpen() {
		t.Errorf("%d bytes, want %d", len(j.file()), len(want))
	}
}
