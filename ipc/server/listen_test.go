package server

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"dispatchd/ipc"
)

// listen makes a socket and closes it with the test.
func listen(t *testing.T, path, group string, mode os.FileMode) net.Listener {
	t.Helper()
	l, err := Listen(path, group, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestListenMode(t *testing.T) {
	dir := shortDir(t)
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	for _, mode := range []os.FileMode{0o660, 0o600, 0o666} {
		path := filepath.Join(dir, mode.String())
		listen(t, path, "", mode)
		fi, err := os.Lstat(path)
		if err != nil || fi.Mode() != mode|os.ModeSocket {
			t.Errorf("mode %v, %v; want %v", fi.Mode(), err, mode)
		}
	}
	if now := syscall.Umask(0); now != 0 {
		t.Errorf("the umask is %04o afterwards", now)
	}
}

// At no time can the socket be reached by more than it is meant for.
func TestListenHasNoWindow(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	stop, seen := make(chan struct{}), make(chan map[os.FileMode]int)
	go func() {
		modes := map[os.FileMode]int{}
		for {
			if fi, err := os.Lstat(path); err == nil {
				modes[fi.Mode().Perm()]++
			}
			select {
			case <-stop:
				seen <- modes
				return
			default:
			}
		}
	}()
	for range 500 {
		l, err := Listen(path, "", 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	}
	close(stop)
	modes := <-seen
	if modes[0o600] == 0 || len(modes) != 1 {
		t.Errorf("modes seen: %v", modes)
	}
}

func TestListenGroup(t *testing.T) {
	dir := shortDir(t)
	gid := os.Getgid()
	if os.Geteuid() == 0 {
		gid = 1
	}
	g, err := user.LookupGroupId(strconv.Itoa(gid))
	if err != nil {
		t.Skipf("no name for group %d: %v", gid, err)
	}
	path := filepath.Join(dir, "s")
	listen(t, path, g.Name, 0o660)
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := fi.Sys().(*syscall.Stat_t).Gid; int(got) != gid || fi.Mode().Perm() != 0o660 {
		t.Errorf("group %d, mode %v; want %d, 0660", got, fi.Mode(), gid)
	}
	_, err = Listen(filepath.Join(dir, "t"), "no-such-group", 0o660)
	wantKind(t, err, ipc.KindConfiguration)
	if _, err := os.Lstat(filepath.Join(dir, "t")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a socket that could not be given away is left: %v", err)
	}
}

// wantKind checks an error's kind.
func wantKind(t *testing.T, err error, k ipc.Kind) {
	t.Helper()
	if p, ok := errors.AsType[*ipc.Error](err); !ok || p.Kind != k {
		t.Errorf("error %v, want kind %s", err, k)
	}
}

func TestListenReplacesAStaleSocket(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	if _, err := net.Dial("unix", path); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("the stale socket: %v", err)
	}
	listen(t, path, "", 0o660)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// What is not a socket is somebody else's: it stays, and is refused.
func TestListenLeavesOthersAlone(t *testing.T) {
	dir := shortDir(t)
	file, sub, link := filepath.Join(dir, "file"), filepath.Join(dir, "dir"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("mine"), 0o600), os.Mkdir(sub, 0o700), os.Symlink(filepath.Join(dir, "s"), link)); err != nil {
		t.Fatal(err)
	}
	listen(t, filepath.Join(dir, "s"), "", 0o660)
	for _, path := range []string{file, sub, link} {
		_, err := Listen(path, "", 0o660)
		wantKind(t, err, ipc.KindConfiguration)
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestListenChecksThePath(t *testing.T) {
	dir := shortDir(t)
	fits := filepath.Join(dir, strings.Repeat("x", pathMax()-len(dir)-1))
	listen(t, fits, "", 0o660)
	_, err := Listen(fits+"x", "", 0o660)
	wantKind(t, err, ipc.KindConfiguration)
	for _, path := range []string{"", "@abstract", "relative", "\x00abstract"} {
		_, err := Listen(path, "", 0o660)
		wantKind(t, err, ipc.KindConfiguration)
	}
	if _, err := Listen(filepath.Join(dir, "missing", "s"), "", 0o660); err == nil {
		t.Error("a directory that is missing is no error")
	}
}

// A socket on which somebody listens is left to that program.
func TestListenLeavesALivingDaemonAlone(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	l := listen(t, path, "", 0o660)
	_, err := Listen(path, "", 0o660)
	wantKind(t, err, ipc.KindLocked)
	go func() { _, _ = l.Accept() }()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the socket is gone: %v", err)
	}
	_ = c.Close()
}
