package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// startError says which file of a launch is at fault. execve(2) gives one number for
// all of them: a missing interpreter is told as if the script were missing, and a
// working directory that is none as if the command were.
func startError(l *Launch, err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	if errors.Is(err, syscall.EPERM) && l.Credential != nil {
		return fmt.Errorf("start %s as user %d: %w: the daemon may not change user", l.Argv[0], l.Credential.UID, err)
	}
	if fault := directoryFault(l.Dir); fault != nil {
		return fault
	}
	as := ""
	if c := l.Credential; c != nil && errors.Is(err, syscall.EACCES) {
		as = fmt.Sprintf(" as user %d in %s", c.UID, l.Dir) // either may be closed to it
	}
	err = fmt.Errorf("start %s%s: %w", strconv.Quote(l.Argv[0]), as, err)
	if why := programFault(l.Argv[0], err); why != "" {
		return fmt.Errorf("%w: %s", err, why)
	}
	return err
}

// directoryFault says why nothing can run in a directory, nil = it may.
func directoryFault(dir string) error {
	fi, err := os.Stat(dir)
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	if err == nil && !fi.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return fmt.Errorf("working directory %s: %w", dir, err)
	}
	return nil
}

// programFault says what is wrong with a program that could not be executed, "" = no
// more is known.
func programFault(path string, err error) string {
	fi, statErr := os.Stat(path)
	switch {
	case statErr != nil:
		return ""
	case fi.IsDir():
		return "it is a directory"
	case errors.Is(err, syscall.EACCES) && fi.Mode()&0o111 == 0:
		return fmt.Sprintf("it is not executable (mode %04o); run: chmod +x %s", fi.Mode().Perm(), path)
	}
	head := firstBytes(path)
	interpreter, script := interpreterOf(head)
	switch {
	case errors.Is(err, syscall.ENOEXEC) && len(head) == 0:
		return "it is empty"
	case errors.Is(err, syscall.ENOEXEC) && !script && bytes.IndexByte(head, 0) < 0:
		return "it has no #! line that names its interpreter, such as #!/bin/sh"
	case errors.Is(err, syscall.ENOEXEC):
		return "it is no program of this machine"
	case script:
		return interpreterFault(interpreter)
	case errors.Is(err, syscall.ENOENT):
		return "it is there, and the loader that it names is not"
	}
	return ""
}

// interpreterFault says what is wrong with the interpreter of a script, "" = nothing.
func interpreterFault(path string) string {
	name := "its interpreter " + strconv.Quote(path)
	fi, err := os.Stat(path)
	switch {
	case path == "":
		return "its #! line names no interpreter"
	case strings.HasSuffix(path, "\r"):
		return name + " ends with a carriage return: its lines end as on Windows"
	case err != nil:
		return name + " is not there"
	case fi.IsDir():
		return name + " is a directory"
	case fi.Mode()&0o111 == 0:
		return name + " is not executable"
	}
	return ""
}

// interpreterOf reads the #! line of a script (execve(2)); false = it has none.
func interpreterOf(head []byte) (path string, script bool) {
	line, script := bytes.CutPrefix(head, []byte("#!"))
	if !script {
		return "", false
	}
	line, _, _ = bytes.Cut(line, []byte{'\n'})
	line = bytes.TrimLeft(line, " \t")
	if i := bytes.IndexAny(line, " \t"); i >= 0 {
		line = line[:i]
	}
	return string(line), true
}

// firstBytes gives the beginning of a file, as far as the kernel looks for a #! line.
func firstBytes(path string) []byte {
	fd, err := open(path, unix.O_RDONLY)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	head := make([]byte, 256)
	n, _ := unix.Read(fd, head)
	return head[:max(0, n)]
}
