package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

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
// removes a socket that is there already: the caller holds the instance's lock,
// so no daemon listens on it.
func Listen(path, group string, mode os.FileMode) (*net.UnixListener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	old := syscall.Umask(int(^mode & 0o777)) // so that the mode is never wider, not even between bind and chmod
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if group != "" {
		err = chgrp(path, group)
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
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("stale socket: %w", err)
	}
	return nil
}

// chgrp gives the socket to a group.
func chgrp(path, group string) error {
	g, err := user.LookupGroup(group)
	if err != nil {
		return ipc.Errorf(ipc.KindConfiguration, "socket_group %s: %v", group, err)
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return fmt.Errorf("socket_group %s: %w", group, err)
	}
	if err := os.Chown(path, -1, gid); err != nil {
		return ipc.Errorf(ipc.KindConfiguration, "socket_group %s: %v", group, err)
	}
	return nil
}
