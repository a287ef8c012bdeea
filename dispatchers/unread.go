package dispatchers

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"dispatchd/ipc"
)

// isLeftover reports whether a file is by its name not meant to be read: a copy of an
// editor or a package manager, or what somebody has put aside.
func isLeftover(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasPrefix(name, "README") || strings.Contains(name, ".dpkg-") || strings.Contains(name, ".ucf-") {
		return true
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".toml")
	return strings.HasSuffix(name, "~") || slices.Contains([]string{
		".bak", ".old", ".orig", ".rej", ".save", ".saved", ".swp", ".swo", ".tmp", ".part", ".new", ".disabled", ".off", ".sample", ".example", ".in",
		".rpmnew", ".rpmsave", ".rpmorig", ".pkgnew", ".pkgsave",
	}, filepath.Ext(name))
}

// unread notes an entry of a directory of definitions that is not read, though it may
// be meant as one: nobody would find out why it does nothing. inside is the name of
// the dispatcher in whose NAME.d it is, "" = it is no drop-in.
func (l *loader) unread(dir string, e fs.DirEntry, inside string) {
	name := e.Name()
	if isLeftover(name) {
		return
	}
	f := Fault{File: filepath.Join(dir, name)}
	stem := rightStem(name)
	switch {
	case e.IsDir() && inside != "":
		f.Message, f.Suggestion = "is not read: a directory among drop-ins", "put the files directly into "+dir
	case e.IsDir():
		f.Message = "is not read: no directory but NAME.d is"
		f.Suggestion = "put NAME.toml directly into " + dir
		if strings.HasSuffix(strings.ToLower(name), ".d") && ValidName(stem) {
			f.Suggestion = fmt.Sprintf("drop-ins are in %s.d", stem)
		}
	case !e.Type().IsRegular() && e.Type()&fs.ModeSymlink == 0:
		f.Message = "is not read: " + kindOf(e.Type())
	default:
		f.Message = "is not read: its name does not end in .toml"
		if inside != "" || ValidName(stem) {
			f.Suggestion = fmt.Sprintf("did you mean %s.toml?", stem)
		}
	}
	l.c.Unread = append(l.c.Unread, f)
}

// rightStem is what a wrong name of a definition or of a directory of drop-ins is
// meant to be called, without the right ending.
func rightStem(name string) string {
	for {
		ext := filepath.Ext(name)
		if ext == "" || len(ext) == len(name) {
			return name
		}
		name = strings.TrimSuffix(name, ext)
	}
}

// dropInsOfNone notes drop-ins of a dispatcher that is not there.
func (l *loader) dropInsOfNone(name string, of *layers) {
	f := Fault{File: filepath.Dir(of.dropIns[0]), Message: "is not read: there is no dispatcher " + name}
	var known []string
	for other, its := range l.layers {
		if its.base != "" || its.function {
			known = append(known, other)
		}
	}
	if near := ipc.Nearest(name, known); near != "" {
		f.Suggestion = fmt.Sprintf("did you mean %s.d?", near)
	}
	l.c.Unread = append(l.c.Unread, f)
}
