package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
	"dispatchd/ipc/lockfile"
)

// socket checks owner and mode of the control socket.
func (d *doctor) socket(path string) {
	fi, err := os.Lstat(path)
	if err != nil {
		return // examine has reported that no daemon answers
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || fi.Mode().Type() != os.ModeSocket {
		d.bad("socket_in_the_way", "remove it, then start dispatchd", "%s is in the way, and no socket", path)
		return
	}
	if fi.Mode().Perm()&0o002 != 0 {
		d.bad("socket_open_to_all", "set socket_group in dispatchd.toml instead of the mode, then restart the daemon", "every user can use the socket %s (mode %04o)", path, fi.Mode().Perm())
		return
	}
	if st.Uid == 0 && st.Gid == 0 && fi.Mode().Perm()&0o060 != 0 {
		d.note("socket_root_only", "to let others use it, make a group, set socket_group in dispatchd.toml, then restart the daemon", "only root can use the socket")
	}
	d.ok("socket", "socket %s is for user %s and group %s (mode %04o)", path, userName(st.Uid), groupName(st.Gid), fi.Mode().Perm())
}

// userName is a user's name, or the number where it has none.
func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// groupName is a group's name, or the number where it has none.
func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}

// directories checks owners and modes of the daemon's directories.
func (d *doctor) directories(p ipc.Paths) {
	owner := os.Geteuid()
	if fi, err := os.Lstat(p.Socket()); err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			owner = int(st.Uid) // the daemon's user
		}
	}
	before, seen := len(d.found), 0
	for _, dir := range []string{p.Run, p.Locks(), p.DispatcherLocks(), p.State, p.Dispatchers, p.Packages} {
		if dir == "" {
			continue
		}
		switch err := safeDir(dir, owner); {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, fs.ErrPermission):
			d.note("directory_unseen", "ask as root to see it", "%v", err)
		case err != nil:
			d.bad("directory_unsafe", "mend it: chown root "+dir+"; chmod go-w "+dir, "%v", err)
		default:
			seen++
		}
	}
	if len(d.found) == before && seen > 0 {
		d.ok("directories", "the directories belong to whom they must, and nobody else can write to them")
	}
	if p.Dispatchers != "" {
		if _, err := os.Stat(p.Dispatchers); errors.Is(err, fs.ErrNotExist) {
			d.note("directory_missing", "create it, and put NAME.toml files into it", "there is no directory %s", p.Dispatchers)
		}
	}
}

// safeDir refuses a directory that a user other than root and the daemon's owns
// or can write to.
func safeDir(dir string, owner int) error {
	fi, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !fi.IsDir():
		return fmt.Errorf("%s is no directory", dir)
	case st.Uid != 0 && int(st.Uid) != owner:
		return fmt.Errorf("%s belongs to user %s", dir, userName(st.Uid))
	case fi.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("others can write to %s (mode %04o)", dir, fi.Mode().Perm())
	}
	return nil
}

// The least room that a disk should have left.
const (
	leastSpace  = 64 << 20
	leastRun    = 1 << 20
	leastInodes = 1000
)

// space checks the room on the disks.
func (d *doctor) space(p ipc.Paths) {
	for _, at := range []struct {
		dir   string
		least uint64
	}{{p.State, leastSpace}, {p.Run, leastRun}} {
		if at.dir == "" {
			continue
		}
		var st unix.Statfs_t
		if err := unix.Statfs(at.dir, &st); err != nil {
			continue // directories has reported it
		}
		free, inodes := uint64(st.Bavail)*uint64(st.Bsize), uint64(st.Ffree)
		switch {
		case free < at.least:
			d.bad("space_low", "free some; without room for the journal nothing is accepted", "%s of room left for %s", humanize.IBytes(free), at.dir)
		case st.Files > 0 && inodes < leastInodes:
			d.bad("inodes_low", "remove files; without inodes no job's output can be kept", "%d inodes left for %s", inodes, at.dir)
		default:
			d.ok("space", "%s of room for %s", humanize.IBytes(free), at.dir)
		}
	}
}

// locks finds locks that a process other than a job holds. It asks the kernel
// (/proc/locks) and tries none: a job could find that try's lock in its way.
func (d *doctor) locks(p ipc.Paths) {
	jobs, waiting := map[string]bool{}, map[string]int{}
	var all []ipc.Lock
	if d.online {
		all, _ = d.app.api().Locks(d.ctx) // without them every holder counts as one from outside
	}
	for _, l := range all {
		waiting[l.Name] = max(l.Waiting, len(l.Waiters))
		for _, h := range l.Holders {
			jobs[l.Name] = jobs[l.Name] || h.Job != ""
		}
	}
	for _, place := range []struct{ dir, prefix string }{{p.Locks(), ""}, {p.DispatcherLocks(), "dispatcher:"}} {
		files, _ := filepath.Glob(filepath.Join(place.dir, "*.lock"))
		for _, path := range files {
			name := strings.TrimSuffix(filepath.Base(path), ".lock")
			h, held := lockfile.Look(place.dir, name)
			if !held || jobs[place.prefix+name] || h.Job != "" {
				continue
			}
			d.heldOutside(place.prefix+name, h, waiting[place.prefix+name])
		}
	}
}

// heldOutside reports the process that holds a lock.
func (d *doctor) heldOutside(name string, h lockfile.Holder, waiters int) {
	who := holder{PID: h.PID, Command: lockfile.Command(h.PID)}
	if waiters == 0 {
		d.note("lock_outside", "", "%s is held from outside by %s", lockName(name), who.words())
		return
	}
	d.bad("lock_outside_blocks", fmt.Sprintf("look what process %d does; the lock is free as soon as it ends", h.PID),
		"%s is held from outside by %s; waiting for it: %s", lockName(name), who.words(), console.Count(waiters, "job"))
}

// clock checks the wall clock.
func (d *doctor) clock(started time.Time) {
	now := time.Now()
	switch {
	case now.Year() < 2026:
		d.bad("clock_wrong", "set the clock; schedules and times in the history go by it", "the clock says %s", now.Format(time.DateTime))
	case started.After(now.Add(time.Second)):
		d.bad("clock_set_back", "dispatchctl status", "the clock was set back: the daemon started at %s, and it is %s", clock(started), clock(now))
	default:
		d.ok("clock", "the clock says %s", now.Format("2006-01-02 15:04:05 MST"))
	}
}
