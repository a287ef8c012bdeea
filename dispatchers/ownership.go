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

// trust judges files by who could have written them: nobody but root and one
// user. A definition says what runs as root, so whoever can change it, or put
// another in its place by way of a parent, would be root (Nimbuspwn).
type trust struct {
	uid int
	off bool // for an offline check of files that are not installed yet
}

// untrusted is a file that somebody else could have written.
type untrusted struct{ message, suggestion string }

// Error gives the message.
func (u *untrusted) Error() string { return u.message }

// judge looks at owner and mode. A directory on the way (not the last one) may
// be writable by all when it is root's and sticky, as /tmp is: what lies in it
// is judged too, and only its owner can replace it.
func (t trust) judge(path string, fi fs.FileInfo, onTheWay bool) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if t.off || !ok {
		return nil
	}
	if st.Uid != 0 && int(st.Uid) != t.uid {
		who := "root"
		if t.uid != 0 {
			who = fmt.Sprintf("root or user %d", t.uid)
		}
		return &untrusted{
			fmt.Sprintf("%s belongs to user %d, want %s", path, st.Uid, who),
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
// the way, from the root down.
func (t trust) directory(path string) error {
	if t.off {
		return nil
	}
	at, rest, links := "/", strings.Split(filepath.Clean(path), "/"), 0
	for {
		for len(rest) > 0 && rest[0] == "" {
			rest = rest[1:]
		}
		fi, err := os.Lstat(at)
		if err != nil {
			return err
		}
		if err := t.judge(at, fi, len(rest) > 0); err != nil {
			return err
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

// read opens a definition once and judges what it has opened. Its directory was
// judged before.
func (t trust) read(path string) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if err := t.judge(path, fi, false); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d KiB", path, maxFile>>10)
	}
	return data, err
}

// openRegular opens a file that is no symbolic link, and does not hang on a pipe.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	// Linux says ELOOP and FreeBSD EMLINK for a link that is not followed.
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EMLINK) {
		return nil, &untrusted{path + " is a symbolic link", "put the file itself there; an empty file masks a package's"}
	}
	return f, err
}
