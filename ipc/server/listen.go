package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"dispatchd/ipc"
)

// pathMax is the longest socket path, without the final NUL: sun_path has 108
// bytes on Linux and 104 on FreeBSD.
func pathMax() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103
}

// Listen makes the socket with this mode, and this group unless it is "". It
// removes a socket that is there already, unless somebody listens on it: that is
// another daemon, with a state directory of its own.
func Listen(path, group string, mode os.FileMode) (*net.UnixListener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	gid, err := groupID(group)
	if err != nil {
		return nil, err
	}
	old := syscall.Umask(int(^mode & 0o777)) // so that the mode is never wider, not even between bind and chmod
	var l *net.UnixListener
	madeInGroup(gid, func() { l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}) })
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if gid >= 0 {
		err = os.Chown(path, -1, gid)
	}
	if err == nil {
		err = os.Chmod(path, mode) // a default ACL of the directory overrides the umask (acl(5))
	}
	if err != nil {
		_ = l.Close()
		_ = os.Remove(path)
		return nil, fmt.Errorf("socket: %w", err)
	}
	return l, nil
}

// removeStale checks the path and removes a socket that an earlier daemon left.
func removeStale(path string) error {
	if len(path) > pathMax() {
		p := ipc.Errorf(ipc.KindConfiguration, "socket path %s: %d bytes, the system allows %d", path, len(path), pathMax())
		p.Suggestion = "use a shorter --root"
		return p
	}
	if !filepath.IsAbs(path) {
		// Go takes a leading @ for an abstract name, which any user may bind.
		return ipc.Errorf(ipc.KindConfiguration, "socket path %q: not absolute", path)
	}
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if fi.Mode().Type() != os.ModeSocket {
		return ipc.Errorf(ipc.KindConfiguration, "%s: in the way, and not a socket; remove it", path)
	}
	if inUse(path) {
		p := ipc.Errorf(ipc.KindLocked, "another program answers on %s", path)
		p.Suggestion = "stop it first, or give this daemon a --root of its own"
		return p
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("stale socket: %w", err)
	}
	return nil
}

// groupID is the id of the socket's group, -1 = the daemon's own.
func groupID(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return -1, ipc.Errorf(ipc.KindConfiguration, "socket_group %s: %v", group, err)
	}
	gid, err := strconv.ParseUint(g.Gid, 10, 32)
	if err != nil || gid == math.MaxUint32 || int(gid) < 0 {
		return -1, ipc.Errorf(ipc.KindConfiguration, "socket_group %s: %q is no id of a group", group, g.Gid)
	}
	return int(gid), nil
}

// startingWait bounds how long a socket that answers is asked again. A daemon that
// was killed while it forked a child lives on in that child's descriptors until it
// executes its program.
const (
	startingWait = 2 * time.Second
	startingStep = 5 * time.Millisecond
)

// inUse reports whether somebody listens on a socket.
func inUse(path string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), startingWait)
	defer cancel()
	ticker := time.NewTicker(startingStep)
	defer ticker.Stop()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err != nil {
			// A dialer's own deadline may pass before the context's timer has run, and a
			// full backlog is somebody's.
			return ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, syscall.EAGAIN)
		}
		_ = c.Close()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return true
		}
	}
}
