package lockfile

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// remove removes a lock's file, as a cleaner or lockf(1) does.
func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(Path(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// A lock whose file was removed is still held: nobody enters beside its holder by a
// file of the same name, also not by the second try.
func TestRemovedWhileHeld(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux lists locks on files without a name")
	}
	real, dir := t.TempDir(), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(real, dir); err != nil {
		t.Fatal(err)
	}
	for _, mine := range []string{"exclusive", "shared"} {
		h := hold(t, dir, "a", mine)
		remove(t, dir, "a")
		for range 2 {
			f, err := Try(dir, "a", false, Holder{})
			if b, ok := errors.AsType[*BusyError](err); !ok || b.Holder.PID != h.cmd.Process.Pid {
				t.Errorf("beside a holder, %s: %v, %v", mine, f, err)
			}
		}
		f, err := Try(dir, "a", true, Holder{})
		if _, busy := errors.AsType[*BusyError](err); busy != (mine == "exclusive") || !busy && err != nil {
			t.Errorf("sharing beside a holder, %s: %v", mine, err)
		}
		if err == nil {
			Release(f)
			remove(t, dir, "a")
		}
		h.release()
		Release(free(t, dir, "a", false))
	}
}

// Whoever has opened a file that was replaced meanwhile locks the one that the name
// means.
func TestReplaced(t *testing.T) {
	dir := t.TempDir()
	old, _, err := open(Path(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close() }()
	if !current(old) {
		t.Error("a file with its name is taken for one without")
	}
	remove(t, dir, "a")
	if current(old) {
		t.Error("a file without a name is taken for the lock")
	}
	Release(free(t, dir, "a", false))
	if current(old) {
		t.Error("a file whose name means another is taken for the lock")
	}
}

// Whoever holds a lock whose file is gone makes it again: those who come by the name
// find it held. Where the name's file is held already, there is nothing to do.
func TestRetake(t *testing.T) {
	dir := t.TempDir()
	for _, shared := range []bool{false, true} {
		f := free(t, dir, "a", shared)
		if again, err := Retake(dir, "a", shared, Holder{PID: os.Getpid()}); again != nil || err != nil {
			t.Errorf("with its file there: %v, %v", again, err)
		}
		remove(t, dir, "a")
		again, err := Retake(dir, "a", shared, Holder{PID: os.Getpid(), Job: "J"})
		if err != nil || again == nil {
			t.Fatalf("without its file: %v, %v", again, err)
		}
		if h := held(t, dir, "a", false); h.PID != os.Getpid() {
			t.Errorf("held by %+v", h)
		}
		if shared {
			Release(free(t, dir, "a", true))
		}
		_ = again.Close()
		_ = f.Close()
		Release(free(t, dir, "a", false))
	}
	if f, err := Retake(filepath.Join(dir, "none"), "a", false, Holder{}); err == nil || f != nil {
		t.Errorf("without a directory: %v, %v", f, err)
	}
}
