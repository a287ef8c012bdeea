package dispatchers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"dispatchd/ipc"
)

// DefaultPath is the PATH of a job whose definition and settings name none. A
// daemon that was started by hand must not find other programs than one that was
// started at boot.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Bounds of what is looked at of a program.
const (
	maxScripts   = 4   // an interpreter may be a script itself, whose interpreter is one: execve(2)
	maxFirstLine = 256 // BINPRM_BUF_SIZE of Linux; FreeBSD reads a page
)

// CheckProgram judges what a job is about to execute, as Load did: argv0, the
// interpreters that its first line names, and the directories of a PATH that the
// definition sets. They belong to root, the trusted user or the job's user, and
// nobody else can write to them or to a directory on the way; what is not there is
// left to the start, which names it. The error is an *ipc.Error of
// KindDispatcherDisabled.
func (s *Spec) CheckProgram(argv0, path string, trustUID int) error {
	t := trust{uid: trustUID}.with(s.User)
	err := t.program(argv0, path, maxScripts)
	if set, ok := s.Environment["PATH"]; ok && err == nil {
		err = t.searchPath(set)
	}
	u, bad := errors.AsType[*untrusted](err)
	if !bad {
		return nil
	}
	e := ipc.Errorf(ipc.KindDispatcherDisabled, "command %s: %s", argv0, u.message)
	e.Dispatcher, e.Suggestion = s.Name, u.suggestion
	return e
}

// with is the trust in what a user's jobs execute: that user may change it, who can
// do nothing by it but what the user could do anyway. Most programs are root's, and
// nobody looks the user up then.
func (t trust) with(name string) trust {
	if name != "" {
		t.also = sync.OnceValue(func() int {
			uid, ok := userID(name)
			if !ok {
				return 0
			}
			return uid
		})
	}
	return t
}

// jobUser is the user that with has named; 0 where there is none, or no such user.
func (t trust) jobUser() int {
	if t.also == nil {
		return 0
	}
	return t.also()
}

// userID finds the id of a user by name, else by number.
func userID(name string) (int, bool) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return 0, false
		}
	}
	id, err := strconv.ParseUint(u.Uid, 10, 32)
	return int(id), err == nil && id != math.MaxUint32
}

// program judges a program with the directories and links on the way, and then its
// interpreter. Only an *untrusted is a fault of trust.
func (t trust) program(path, search string, scripts int) error {
	if t.off {
		return nil
	}
	if err := t.directory(path); err != nil {
		return err
	}
	interpreter, argument := interpreterOf(path)
	if interpreter == "" || scripts == 0 {
		return nil
	}
	if err := t.program(interpreter, search, scripts-1); err != nil {
		return err
	}
	// env(1) looks for the program that it is asked for in PATH.
	if filepath.Base(interpreter) != "env" || argument == "" {
		return nil
	}
	if full, err := LookPath(argument, search); err == nil {
		return t.program(full, search, scripts-1)
	}
	return nil // env says it
}

// interpreterOf reads the first line of a script: its interpreter, and the program
// that env(1) is asked for. "" = it is no script, or cannot be read.
func interpreterOf(path string) (interpreter, argument string) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", ""
	}
	defer func() { _ = f.Close() }()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return "", ""
	}
	head := make([]byte, maxFirstLine)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", ""
	}
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	text, ok := strings.CutPrefix(string(line), "#!")
	words := strings.Fields(text)
	if !ok || len(words) == 0 || !filepath.IsAbs(words[0]) {
		return "", ""
	}
	for _, word := range words[1:] {
		if !strings.HasPrefix(word, "-") && !strings.Contains(word, "=") {
			return words[0], word
		}
	}
	return words[0], ""
}

// searchPath judges the directories of a PATH; one that is not there has nothing in
// it, and only who may make it could change that.
func (t trust) searchPath(path string) error {
	if t.off {
		return nil
	}
	for _, dir := range filepath.SplitList(path) {
		if err := t.directory(dir); err != nil {
			if _, bad := errors.AsType[*untrusted](err); bad {
				return err
			}
		}
	}
	return nil
}

// LookPath finds a command: a path as it is, a bare name in the directories of
// path. The current directory is never searched.
func LookPath(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(path) {
		full := filepath.Join(dir, name)
		if fi, err := os.Stat(full); err == nil && filepath.IsAbs(dir) && fi.Mode().IsRegular() && fi.Mode().Perm()&0o111 != 0 {
			return full, nil
		}
	}
	return "", fmt.Errorf("command %q: not found in %s", name, path)
}

// checkPrograms judges what the dispatcher's jobs execute, and warns of what is not
// there: it may come with a package before the first job.
func (b *builder) checkPrograms() {
	path := b.path
	if set, ok := b.spec.Environment["PATH"]; ok {
		path = set
		if v := b.seen["environment"]; v != nil && v.names["PATH"] != nil {
			if err := b.trust.with(b.spec.User).searchPath(set); err != nil {
				b.untrusted(v.names["PATH"], err)
			}
		}
	}
	v := b.seen["command"]
	if v == nil || !b.isValid("command") || len(b.spec.Command) == 0 || len(v.items) == 0 {
		return
	}
	name := b.spec.Command[0]
	full, err := LookPath(name, path)
	if err != nil {
		b.warn(v.items[0], "", "%q: not found in %s", clip(name), path)
		return
	}
	fi, err := os.Stat(full)
	switch {
	case err != nil:
		b.warn(v.items[0], "", "%s", missing(full, err))
	case !fi.Mode().IsRegular():
		b.warn(v.items[0], "", "%s is no program but %s", full, kindOf(fi.Mode()))
	case fi.Mode().Perm()&0o111 == 0:
		b.warn(v.items[0], "chmod +x "+full, "%s is not executable (mode %04o)", full, fi.Mode().Perm())
	default:
		if at, _ := interpreterOf(full); at != "" {
			if _, err := os.Stat(at); err != nil {
				b.warn(v.items[0], "", "the interpreter of %s: %s", full, missing(at, err))
			}
		}
	}
	if err := b.trust.with(b.spec.User).program(full, path, maxScripts); err != nil {
		b.untrusted(v.items[0], err)
	}
}

// untrusted reports a fault of trust at a value.
func (b *builder) untrusted(v *value, err error) {
	if u, bad := errors.AsType[*untrusted](err); bad {
		b.bad(v, u.suggestion, "%s", u.message)
	}
}

// missing words an error of stat(2), which repeats the path.
func missing(path string, err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return fmt.Sprintf("%s: %v", path, err)
}

// kindOf names what is no regular file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	}
	return "a device"
}
