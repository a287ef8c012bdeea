package store

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// A start waits for a lock that is about to be let go, and not for ever.
func TestOpenWaits(t *testing.T) {
	path := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		_, err = Open(path, Options{})
		if p, ok := errors.AsType[*ipc.Error](err); !ok || p.Kind != ipc.KindLocked {
			t.Errorf("held: %v", err)
		}
		time.AfterFunc(time.Second, func() { _ = f.Close() })
		d, err := Open(path, Options{})
		if err != nil {
			t.Fatalf("let go after a second: %v", err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

// One daemon has the directory; a second one is told whose it is. While one image
// of a program makes way for the next, which has no lock for a moment, LockFile
// keeps others out, and lets in whoever inherits it.
func TestOneDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "state")
	refused := func(what string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			_, err := Open(path, Options{})
			if p, ok := errors.AsType[*ipc.Error](err); !ok || p.Kind != ipc.KindLocked || p.Holder != strconv.Itoa(os.Getpid()) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	d, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	refused("open")
	lock, err := d.LockFile()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	refused("handed over")
	if d, err = Open(path, Options{LockFile: lock}); err != nil {
		t.Fatal(err)
	}
	refused("taken over")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = Open(path, Options{}); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
}

// A damaged file is kept under another name, once, with its content; where there
// are no links it is copied.
func TestKeepDamaged(t *testing.T) {
	d := osDisk{t.TempDir()}
	for name, text := range map[string]string{"journal": "damaged", "other": strings.Repeat("text", 3*page)} {
		if err := os.WriteFile(d.at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := d.keepDamaged("journal")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := d.keepDamaged("journal"); err != nil || again != kept {
		t.Errorf("kept again as %s: %v", again, err)
	}
	copied := d.at("other") + ".copy"
	if err := d.copy("other", copied); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{d.at("journal"): kept, d.at("other"): copied} {
		want, _ := os.ReadFile(from)
		if got, err := os.ReadFile(to); err != nil || string(got) != string(want) {
			t.Errorf("%s: %d bytes of %d, %v", to, len(got), len(want), err)
		}
	}
	if d.copy("other", copied) == nil {
		t.Error("a copy replaces what is there")
	}
	if _, err := d.keepDamaged("missing"); err == nil {
		t.Error("a file that is not there is kept")
	}
}

// A daemon whose lock's file was removed still has the directory: a second one is
// refused at once where the system lists its locks, and everywhere once the first has
// made the file again.
func TestLockFileRemoved(t *testing.T) {
	path := t.TempDir()
	d, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := d.KeepLock(); again || err != nil {
		t.Errorf("with its file there: %t, %v", again, err)
	}
	name := filepath.Join(path, "lock")
	for _, spoil := range []func() error{
		func() error { return os.Remove(name) },
		func() error { return errors.Join(os.Rename(name, name+".away"), os.WriteFile(name, nil, 0o600)) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if again, err := d.KeepLock(); !again || err != nil {
			t.Errorf("without its file: %t, %v", again, err)
		}
		synctest.Test(t, func(t *testing.T) {
			_, err := Open(path, Options{})
			if p, ok := errors.AsType[*ipc.Error](err); !ok || p.Kind != ipc.KindLocked || p.Holder != strconv.Itoa(os.Getpid()) {
				t.Errorf("a second daemon: %v", err)
			}
		})
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if d, err = Open(path, Options{}); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
}
