//go:build linux && power

package power

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// imageSize is the disk's: small, so that a cut costs little to look at.
const imageSize = 32 << 20

// emptyImage is a file system of the kind that most machines have.
func emptyImage(t *testing.T, dir string) []byte {
	t.Helper()
	path := filepath.Join(dir, "image")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, imageSize); err != nil {
		t.Fatal(err)
	}
	// -E nodiscard: what is not written must be as it was.
	out, err := exec.Command("mkfs.ext4", "-q", "-b", "4096", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", path).CombinedOutput()
	if err != nil {
		t.Skipf("a file system of our own needs mkfs.ext4: %v\n%s", err, out)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	return image
}

// mount mounts a file system in a file, by a loop device.
func mount(image, at string) error {
	out, err := exec.Command("mount", "-t", "ext4", "-o", "loop,nodiscard", image, at).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mount: %w: %s", err, out)
	}
	return nil
}

// mustMount mounts one that is as it should be. Where that cannot be, the
// machine does not let us.
func mustMount(t *testing.T, image, at string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a disk of our own needs root")
	}
	if err := mount(image, at); err != nil {
		t.Skipf("a disk of our own needs loop devices and the right to mount: %v", err)
	}
}

// unmount takes it away again, once the last child of a killed daemon is gone.
func unmount(t *testing.T, at string) {
	t.Helper()
	err := unix.Unmount(at, 0)
	for range 200 {
		if !errors.Is(err, unix.EBUSY) {
			break
		}
		<-time.After(20 * time.Millisecond)
		err = unix.Unmount(at, 0)
	}
	if err != nil {
		t.Errorf("unmount %s: %v", at, err)
		_ = unix.Unmount(at, unix.MNT_DETACH)
	}
}

// memory is a directory for what is written often and need not last.
func memory(t *testing.T) string {
	t.Helper()
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "power-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
