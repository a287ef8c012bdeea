package main

import (
	"os"
	"path/filepath"
	"syscall"
)

// shimVerb makes this program a job's supervisor. It is no command for people.
const shimVerb = "shim"

// shimProgram is the small program that is nothing but a job's supervisor: with it a
// job costs 2.2 times an empty Go program, with this one 5.
const shimProgram = "dispatchd-shim"

// supervisor is how a job's supervisor is started: by the small program, where it is
// beside this one or where packages have it, else by this program. So an instance
// that was built with go run, or copied alone, needs no second file.
func supervisor() ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(self)
	for _, path := range []string{filepath.Join(dir, shimProgram), filepath.Join(dir, "../libexec/dispatchd", shimProgram)} {
		if trusted(path, self) {
			return []string{path}, nil
		}
	}
	return []string{self, shimVerb}, nil
}

// trusted reports whether a program may be started where self was: a regular file of
// the same owner, that nobody may write who may not write self.
func trusted(path, self string) bool {
	a, err := os.Lstat(path)
	if err != nil {
		return false
	}
	b, err := os.Stat(self)
	if err != nil {
		return false
	}
	theirs, ok := a.Sys().(*syscall.Stat_t)
	ours, same := b.Sys().(*syscall.Stat_t)
	const writable = 0o022
	return ok && same && a.Mode().IsRegular() && theirs.Uid == ours.Uid && a.Mode()&0o111 != 0 && a.Mode()&^b.Mode()&writable == 0
}
