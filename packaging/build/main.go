// Command build makes dispatchd's packages: deb, rpm and apk for Linux, and the
// format of pkg(8) for FreeBSD. What goes where is one table, in contents.go.
//
// Two builds of the same source give the same bytes, on any machine with the
// same Go: times are those of the commit, and no path or name of the machine
// gets in. It is a module of its own, so that what nfpm needs stays out of the
// daemon's.
//
//	go -C packaging/build run . [-version V] [-out DIR] [TARGET...]
//
// A TARGET is deb, rpm, apk or freebsd for all their machines, or one of them,
// such as deb-amd64. Without one all are made.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

// run is the program.
func run(args []string) error {
	set := flag.NewFlagSet("build", flag.ContinueOnError)
	version := set.String("version", "", "`VERSION`, such as 1.2.0 or 1.2.0~rc1 (default the commit's tag, or its time)")
	out := set.String("out", "dist", "`DIRECTORY` for the packages; a relative one begins at the module's root")
	if err := set.Parse(args); err != nil {
		return err
	}
	targets, err := choose(set.Args())
	if err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	rel, err := release(root, *version)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(*out) {
		*out = filepath.Join(root, *out)
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "dispatchd-packages-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	b := &builder{root: root, work: work, out: *out, release: rel, built: map[machine]string{}}
	return b.make(targets)
}

// target is one package.
type target struct {
	format string // deb, rpm, apk or freebsd
	machine
}

// String is how a target is named on the command line.
func (t target) String() string { return t.format + "-" + t.arch }

// targets are all packages.
func targets() []target {
	var all []target
	for _, format := range []string{"deb", "rpm", "apk"} {
		for _, arch := range []string{"amd64", "arm64", "arm"} {
			all = append(all, target{format, machine{"linux", arch}})
		}
	}
	for _, arch := range []string{"amd64", "arm64"} {
		all = append(all, target{"freebsd", machine{"freebsd", arch}})
	}
	return all
}

// choose gives the targets that the words name, all without words.
func choose(words []string) ([]target, error) {
	if len(words) == 0 {
		return targets(), nil
	}
	var chosen []target
	for _, word := range words {
		before := len(chosen)
		for _, t := range targets() {
			if (word == t.format || word == t.String()) && !slices.Contains(chosen, t) {
				chosen = append(chosen, t)
			}
		}
		if len(chosen) == before {
			var names []string
			for _, t := range targets() {
				names = append(names, t.String())
			}
			return nil, fmt.Errorf("%s is no target: use one of %s", word, strings.Join(names, ", "))
		}
	}
	return chosen, nil
}

// moduleRoot is the directory of the daemon's module.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module dispatchd\n") {
			return dir, nil
		}
	}
	return "", fmt.Errorf("run it inside the source of dispatchd")
}
