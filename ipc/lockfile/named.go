package lockfile

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A lock belongs to an inode, and everybody finds that by a name. Where the name
// was removed or replaced meanwhile (by a cleaner, or by FreeBSD's lockf(1), which
// unlinks its file by itself unless it gets -k), two processes could hold "the same"
// lock on two inodes. So whoever has locked a file looks whether the name still
// means it, and whoever makes a file anew looks whether the one before is held.

// renewals bounds how often one try follows a name that is replaced again and again.
const renewals = 100

// current reports whether the file's name still means this file.
func current(f *os.File) bool {
	var named, ours unix.Stat_t
	err := unix.Lstat(f.Name(), &named)
	return err == nil && unix.Fstat(int(f.Fd()), &ours) == nil && named.Dev == ours.Dev && named.Ino == ours.Ino
}

// Retake is for whoever knows that a lock is held, by itself or by a child that
// inherited it. Where the lock's name means another file than the one that is held,
// or none, nobody who comes by that name would find the lock held: Retake makes the
// file again, locks it too, and gives it to be closed together with the lock. nil,
// with or without an error: the name's file is held by somebody already.
func Retake(dir, name string, shared bool, h Holder) (*os.File, error) {
	if !ValidName(name) {
		return nil, nil
	}
	path := Path(dir, name)
	for range renewals {
		f, _, err := open(path)
		if err != nil {
			return nil, err
		}
		err = flock(f, unix.LOCK_EX|unix.LOCK_NB) // exclusive also where the lock is shared: all who share it have the old file
		if err == nil && shared {
			err = flock(f, unix.LOCK_SH|unix.LOCK_NB)
		}
		now := current(f)
		switch {
		case err == nil && now:
			ownAsDirectory(f, dir)
			if !shared {
				write(f, h)
			}
			return f, nil
		case now && errors.Is(err, unix.EWOULDBLOCK):
			_ = f.Close()
			return nil, nil
		}
		_ = f.Close()
		if now && err != nil {
			return nil, &os.PathError{Op: "flock", Path: path, Err: err}
		}
	}
	return nil, nil
}

// Orphaned finds a process that holds a lock on a file which was removed from a
// path; for who wants to share it, only one that does not. Where the system does
// not list its locks, it finds none.
func Orphaned(path string, shared bool) (pid int, held bool) {
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		pid = orphanHolder(filepath.Join(dir, filepath.Base(path)), shared)
	}
	return pid, pid != 0
}
