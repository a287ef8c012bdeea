package dispatchers

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks bounds the symbolic links on the way to a directory.
const maxLinks = 40

// trust judges whether nobody but root and one user could have written a file.
// A definition says what runs as root: a user who can change it, or replace it by
// way of a parent directory, is root (Nimbuspwn: CVE-2022-29799, CVE-2022-29800).
type trust struct {
	uid  int
	also func() int // the user of the job, for what it executes; nil = nobody else
	off  bool       // for an offline check of files that are not installed yet
}

// untrusted is the error of a file that another user could have written.
type untrusted struct{ message, suggestion string }

// Error gives the message.
func (u *untrusted) Error() string { return u.message }

// judge looks at owner and mode. A directory on the way, so not the last one, may
// be writable by all when it is root's and sticky, as /tmp is: the entry in it is
// judged too, and only its owner can replace it.
func (t trust) judge(path string, fi fs.FileInfo, onTheWay bool) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if t.off || !ok {
		return nil
	}
	if st.Uid != 0 && int(st.Uid) != t.uid && int(st.Uid) != t.jobUser() {
		want := "root"
		for _, uid := range []int{t.uid, t.jobUser()} {
			if uid != 0 {
				want = fmt.Sprintf("root or user %d", uid)
			}
		}
		return &untrusted{
			fmt.Sprintf("%s belongs to user %d, want %s", path, st.Uid, want),
			"chown root " + path,
		}
	}
	if fi.Mode()&fs.ModeSymlink != 0 || fi.Mode().Perm()&0o022 == 0 {
		return nil
	}
	if onTheWay && fi.IsDir() && fi.Mode()&fs.ModeSticky != 0 && st.Uid == 0 {
		return nil
	}
	return &untrusted{
		fmt.Sprintf("%s can be written by group or others (mode %04o)", path, fi.Mode().Perm()),
		"chmod go-w " + path,
	}
}

// directory judges a directory with every parent, and every symbolic link on
// the way, from the root down. All that are bad are told at once, with the commands
// that mend them.
func (t trust) directory(path string) error {
	if t.off {
		return nil
	}
	var bad []*untrusted
	err := t.walk(path, func(u *untrusted) { bad = append(bad, u) })
	if len(bad) == 0 {
		return err
	}
	return joinUntrusted(bad)
}

// joinUntrusted makes one error of several.
func joinUntrusted(bad []*untrusted) *untrusted {
	const chmod = "chmod go-w "
	all := *bad[0]
	for _, u := range bad[1:] {
		all.message += "; " + u.message
		if path, ok := strings.CutPrefix(u.suggestion, chmod); ok && strings.HasPrefix(all.suggestion, chmod) {
			all.suggestion += " " + path
		} else {
			all.suggestion += "; " + u.suggestion
		}
	}
	return &all
}

// walk walks from the root down to a path, and tells every directory and link on
// the way that another user could change.
func (t trust) walk(path string, bad func(*untrusted)) error {
	at, rest, links := "/", strings.Split(filepath.Clean(path), "/"), 0
	for {
		for len(rest) > 0 && rest[0] == "" {
			rest = rest[1:]
		}
		fi, err := os.Lstat(at)
		if err != nil {
			return err
		}
		if u, ok := errors.AsType[*untrusted](t.judge(at, fi, len(rest) > 0)); ok {
			bad(u)
		}
		if fi.Mode()&fs.ModeSymlink != 0 {
			if links++; links > maxLinks {
				return &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
			}
			if at, rest, err = follow(at, rest); err != nil {
				return err
			}
			continue
		}
		if len(rest) == 0 {
			return nil
		}
		if !fi.IsDir() {
			return &fs.PathError{Op: "open", Path: at, Err: syscall.ENOTDIR}
		}
		at, rest = filepath.Join(at, rest[0]), rest[1:]
	}
}

// follow starts the walk anew at the target of a link. A relative target with
// dots is resolved from the directory of the link, which was walked without
// links, so that the dots mean what the kernel takes them for; dots further
// down are walked one by one.
func follow(link string, rest []string) (string, []string, error) {
	target, err := os.Readlink(link)
	if err != nil {
		return "", nil, err
	}
	parts := strings.Split(target, "/")
	from := "/"
	if !filepath.IsAbs(target) {
		from = filepath.Dir(link)
	}
	return from, append(parts, rest...), nil
}

// read reads a definition. Its directory was judged before.
func (t trust) read(path string) ([]byte, error) {
	f, err := t.open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d KiB", path, maxFile>>10)
	}
	return data, err
}

// open opens a regular file once and judges the open descriptor, so that nobody can
// exchange the file between the two.
func (t trust) open(path string) (*os.File, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err == nil {
		err = t.judge(path, fi, false)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// openRegular opens a file that is no symbolic link. With O_NONBLOCK it does not
// wait for the writer of a pipe; the caller refuses what is not regular.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	// open(2) of a socket: ENXIO on Linux, EOPNOTSUPP on FreeBSD.
	if errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.EOPNOTSUPP) {
		return nil, &untrusted{path + " is a socket and not a regular file", "remove it, or give it another name"}
	}
	// open(2): O_NOFOLLOW gives ELOOP on Linux and EMLINK on FreeBSD.
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EMLINK) {
		return nil, &untrusted{path + " is a symbolic link", "put the file itself there; an empty file masks a package's"}
	}
	return f, err
}
