package daemon

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"syscall"

	"dispatchd/daemon/internal/launch"
	"dispatchd/daemon/internal/proc"
	"dispatchd/ipc"
)

// jobsDir is where the files of attempts are.
func jobsDir(p ipc.Paths) string { return filepath.Join(p.Run, "jobs") }

// runDirs are the run directory and those below it.
func runDirs(p ipc.Paths) []string {
	return []string{p.Run, p.Locks(), p.DispatcherLocks(), jobsDir(p)}
}

// makeRunDir makes the directories of socket and locks, ours and 0755, so that
// nobody else can put a socket or a lock there, and that of running jobs.
func makeRunDir(p ipc.Paths, group string) error {
	for _, d := range runDirs(p) {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("run directory: %w", err)
		}
		if err := ownedDir(d); err != nil {
			return err
		}
	}
	if err := proc.MakeDirectory(jobsDir(p)); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	// The directory itself stays its maker's: systemd gives one that is another's
	// to itself at every reload, with all that is in it.
	if err := os.Chown(p.Run, -1, os.Getegid()); err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	for _, d := range []string{p.Locks(), p.DispatcherLocks()} {
		if err := giveTo(d, group); err != nil {
			return err
		}
	}
	return nil
}

// giveTo makes a directory the socket group's, so that the lock files in it
// are. The group may not write to it.
func giveTo(dir, group string) error {
	if group == "" {
		return nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return ipc.Errorf(ipc.KindConfiguration, "socket_group %s: %v", group, err)
	}
	gid, err := launch.ParseID(g.Gid)
	if err == nil {
		err = os.Chown(dir, -1, int(gid))
	}
	if err != nil {
		return ipc.Errorf(ipc.KindConfiguration, "socket_group %s: %v", group, err)
	}
	return nil
}

// ownedDir refuses a directory that somebody else owns or can write to.
func ownedDir(path string) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("run directory: %w", err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || !fi.IsDir() {
		return ipc.Errorf(ipc.KindConfiguration, "%s: not a directory; remove it and start again", path)
	}
	if int(st.Uid) != os.Geteuid() && st.Uid != 0 {
		return ipc.Errorf(ipc.KindConfiguration, "%s: belongs to user %d, not to the daemon's user %d; chown it", path, st.Uid, os.Geteuid())
	}
	if fi.Mode().Perm()&0o022 != 0 {
		return ipc.Errorf(ipc.KindConfiguration, "%s: others can write to it (mode %04o); run: chmod go-w %s", path, fi.Mode().Perm(), path)
	}
	return nil
}
