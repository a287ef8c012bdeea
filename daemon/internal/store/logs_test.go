package store

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/ulid/v2"
)

// logged makes a state directory with one job's output in it.
func logged(t *testing.T, text string) (*Dir, ulid.ULID) {
	t.Helper()
	d, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	id := ulid.Make()
	print1(t, d, id, text)
	return d, id
}

// print1 has a job print something.
func print1(t *testing.T, d *Dir, id ulid.ULID, text string) {
	t.Helper()
	f, err := d.NewLog(id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// ended is the end of a job that has ended.
func ended() <-chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}

// An output is read from a byte on; of one that is longer than its bound, the
// middle is left out, and that is said.
func TestReadLog(t *testing.T) {
	d, id := logged(t, "0123456789")
	print1(t, d, id, "abcdefghij") // a further attempt appends
	if n := d.LogSize(id); n != 20 {
		t.Errorf("%d bytes", n)
	}
	for _, c := range []struct {
		from, max int64
		want      string
	}{
		{0, 0, "0123456789abcdefghij"},
		{0, 20, "0123456789abcdefghij"},
		{7, 0, "789abcdefghij"},
		{20, 0, ""},
		{25, 0, ""},
		{0, 8, "0123\n[… 12 bytes left out …]\nghij"},
		{2, 8, "23\n[… 12 bytes left out …]\nghij"},
		{10, 8, "\n[… 6 bytes left out …]\nghij"},
		{17, 8, "hij"},
	} {
		r := d.ReadLog(t.Context(), id, LogQuery{From: c.from, Max: c.max, Ended: ended()})
		got, err := io.ReadAll(r)
		if err != nil || string(got) != c.want {
			t.Errorf("from %d, at most %d: %q, %v; want %q", c.from, c.max, got, err, c.want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	r := d.ReadLog(t.Context(), ulid.Make(), LogQuery{Ended: ended()})
	if got, err := io.ReadAll(r); err != nil || len(got) > 0 || r.Close() != nil {
		t.Errorf("of a job without output: %q, %v", got, err)
	}
}

// A followed output is read as it comes, until the job has ended or the reader
// goes away.
func TestFollowLog(t *testing.T) {
	d, id := logged(t, "")
	synctest.Test(t, func(t *testing.T) {
		for _, leaves := range []bool{false, true} {
			over := make(chan struct{})
			ctx, cancel := context.WithCancel(context.Background())
			r := d.ReadLog(ctx, id, LogQuery{From: d.LogSize(id), Ended: over})
			got := make(chan string, 1)
			go func() {
				text, _ := io.ReadAll(r)
				got <- string(text)
			}()
			for range 3 {
				print1(t, d, id, "more ")
				time.Sleep(2 * followStep)
			}
			if len(got) > 0 {
				t.Fatalf("it ended by itself: %q", <-got)
			}
			if leaves {
				cancel()
			} else {
				print1(t, d, id, "last")
				close(over)
			}
			want := map[bool]string{false: "more more more last", true: "more more more "}[leaves]
			if text := <-got; text != want {
				t.Errorf("leaves %v: %q", leaves, text)
			}
			cancel()
			_ = r.Close()
		}
	})
}

// Who follows a job from its start may come before its log is made. One that is not
// there at the end is said.
func TestFollowFromTheStart(t *testing.T) {
	d, id := logged(t, "")
	synctest.Test(t, func(t *testing.T) {
		for _, removed := range []bool{false, true} {
			_ = os.Remove(d.LogPath(id))
			over := make(chan struct{})
			r := d.ReadLog(t.Context(), id, LogQuery{Printed: true, Ended: over})
			got := make(chan string, 1)
			go func() {
				text, _ := io.ReadAll(r)
				got <- string(text)
			}()
			time.Sleep(2 * followStep)
			want := "hello"
			if removed {
				want = "[… there is no log: it was removed or renamed, or could not be written …]\n"
			} else {
				print1(t, d, id, "hello")
			}
			close(over)
			if text := <-got; text != want {
				t.Errorf("removed %v: %q, want %q", removed, text, want)
			}
			_ = r.Close()
		}
	})
}

// The middle of a long output gives its disk space back, its size stays.
func TestTrimLog(t *testing.T) {
	d, id := logged(t, strings.Repeat("x", 40*page))
	for _, max := range []int64{0, 40 * page, 10 * page} {
		if err := d.TrimLog(id, d.LogSize(id), max); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(d.LogPath(id))
		if err != nil {
			t.Fatal(err)
		}
		if use := diskUse(fi); fi.Size() != 40*page || (max == 10*page) != (use < 20*page) {
			t.Errorf("at most %d: %d bytes take %d of the disk", max, fi.Size(), use)
		}
	}
	if err := d.TrimLog(ulid.Make(), 2, 1); err == nil {
		t.Error("an output that is not there is trimmed")
	}
}

// Outputs of forgotten jobs go, and what is no output stays.
func TestRemoveLogs(t *testing.T) {
	d, id := logged(t, "x")
	other := d.LogPath(id) + ".kept"
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d.RemoveLogs([]ulid.ULID{id, ulid.Make()})
	if left := d.EnforceLogs(0, func(ulid.ULID) LogOwner { return LogOwner{} }); left != 0 || d.LogSize(id) != 0 {
		t.Errorf("%d bytes are left", left)
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
}

// A directory of outputs that somebody removed is made again by the next job.
func TestLogsRemoved(t *testing.T) {
	path := t.TempDir()
	d, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if again, err := d.KeepLogs(); again || err != nil {
		t.Errorf("with it: %t, %v", again, err)
	}
	for range 2 {
		if err := os.RemoveAll(filepath.Join(path, "logs")); err != nil {
			t.Fatal(err)
		}
		f, err := d.NewLog(ulid.Make())
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	if err := os.RemoveAll(filepath.Join(path, "logs")); err != nil {
		t.Fatal(err)
	}
	if again, err := d.KeepLogs(); !again || err != nil {
		t.Errorf("without it: %t, %v", again, err)
	}
}
