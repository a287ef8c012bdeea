package lockfile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Whatever was written into a lock file, it takes no more than a holder's text, the
// holder is still named, and the lock is still held.
func TestShorten(t *testing.T) {
	dir := t.TempDir()
	held, err := Try(dir, "held", false, Holder{Job: "J", PID: os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	defer Release(held)
	write := func(name string, at int64, n int) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE, 0o660)
		if err == nil {
			_, err = f.WriteAt(bytes.Repeat([]byte("x"), n), at)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	write("held.lock", 500, 1<<20)
	write("free.lock", 0, maxText+1)
	write("fine.lock", 0, maxText)
	write("no lock", 0, 1<<20)
	if err := os.Symlink(filepath.Join(dir, "no lock"), filepath.Join(dir, "link.lock")); err != nil {
		t.Fatal(err)
	}
	want := []string{Path(dir, "free"), Path(dir, "held")}
	aside, err := os.Create(Path(dir, "aside"))
	if err != nil {
		t.Fatal(err)
	}
	if unix.Fallocate(int(aside.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20) == nil {
		want = append([]string{Path(dir, "aside")}, want...)
	}
	if cut := Shorten(dir); len(cut) != len(want) || cut[0] != want[0] || cut[len(cut)-1] != want[len(want)-1] {
		t.Errorf("cut %v, want %v", cut, want)
	}
	for name, most := range map[string]int64{"held.lock": maxText, "free.lock": maxText, "fine.lock": maxText, "aside.lock": 0, "no lock": 1 << 20} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil || fi.Size() > most {
			t.Errorf("%s: %v, %v", name, fi.Size(), err)
		}
	}
	if cut := Shorten(dir); len(cut) > 0 {
		t.Errorf("cut again: %v", cut)
	}
	_, err = Try(dir, "held", false, Holder{PID: 1})
	if busy, ok := errors.AsType[*BusyError](err); !ok || busy.Holder.PID != os.Getpid() {
		t.Errorf("%v", err)
	}
}
