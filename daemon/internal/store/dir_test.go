package store

import (
	"errors"
	"os"
	"path/filepath"
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
