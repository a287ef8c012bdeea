package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// machine is what programs are built for.
type machine struct{ os, arch string }

// host is the machine that builds.
func host() machine { return machine{runtime.GOOS, runtime.GOARCH} }

// builder makes packages.
type builder struct {
	root    string // the daemon's module
	work    string // what is made on the way
	out     string
	release published
	built   map[machine]string // the directories of programs
	made    map[string]string  // files that the programs print, by name
}

// make makes the packages.
func (b *builder) make(list []target) error {
	if err := b.prints(); err != nil {
		return err
	}
	for _, t := range list {
		dir, err := b.programs(t.machine)
		if err != nil {
			return err
		}
		files, err := b.contents(t, dir)
		if err != nil {
			return err
		}
		write := b.linux
		if t.format == "freebsd" {
			write = b.freebsd
		}
		path, err := write(t, files)
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		fmt.Println(path)
	}
	return nil
}

// programs builds the programs for a machine, once, and gives their
// directory. They are static, know their version, and leave HTTP/2 out: the API
// is HTTP/1.1, and the idle daemon is smaller.
func (b *builder) programs(m machine) (string, error) {
	if dir := b.built[m]; dir != "" {
		return dir, nil
	}
	dir := filepath.Join(b.work, m.os+"-"+m.arch)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags=nethttpomithttp2",
		"-ldflags=-s -w -buildid= -X dispatchd/ipc/console.packaged="+b.release.version, "-o", dir+"/", "./cmd/...")
	cmd.Dir = b.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+m.os, "GOARCH="+m.arch, "GOARM=7", "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("programs for %s/%s: %w\n%s", m.os, m.arch, err, out)
	}
	b.built[m] = dir
	return dir, nil
}

// prints keeps what the programs print of themselves.
func (b *builder) prints() error {
	dir, err := b.programs(host())
	if err != nil {
		return err
	}
	b.made = map[string]string{}
	for name, argv := range map[string][]string{
		"completion.bash": {"dispatchctl", "completion", "bash"}, "completion.zsh": {"dispatchctl", "completion", "zsh"},
		"completion.fish":   {"dispatchctl", "completion", "fish"},
		"schema.dispatcher": {"dispatchd", "schema", "dispatcher"}, "schema.dispatchd": {"dispatchd", "schema", "dispatchd"},
	} {
		out, err := exec.Command(filepath.Join(dir, argv[0]), argv[1:]...).Output()
		if err != nil {
			return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
		}
		if err := b.keep(name, out); err != nil {
			return err
		}
	}
	notices, err := b.notices()
	if err != nil {
		return err
	}
	return b.keep("notices", notices)
}

// keep writes a file that is made here.
func (b *builder) keep(name string, text []byte) error {
	path := filepath.Join(b.work, name)
	b.made[name] = path
	return os.WriteFile(path, text, 0o644)
}

// notices are the licences of all code that is linked into the programs: most
// of them want to be passed on with it.
func (b *builder) notices() ([]byte, error) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if .Version}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}", "./cmd/...")
	cmd.Dir = b.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list of modules: %w", err)
	}
	modules := slices.Compact(slices.Sorted(strings.FieldsFuncSeq(string(out), func(r rune) bool { return r == '\n' })))
	var text bytes.Buffer
	fmt.Fprintln(&text, "The programs of dispatchd contain code of the modules below, and of Go itself.")
	for _, line := range append([]string{"Go\t" + goroot()}, modules...) {
		name, dir, _ := strings.Cut(line, "\t")
		found := 0
		for _, file := range []string{"LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING", "NOTICE"} {
			licence, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				continue
			}
			found++
			fmt.Fprintf(&text, "\n==== %s: %s\n\n%s\n", name, file, bytes.TrimSpace(bytes.ReplaceAll(licence, []byte("\r\n"), []byte("\n"))))
		}
		if found == 0 && name != "Go" {
			return nil, fmt.Errorf("%s has no licence that is known here, in %s", name, dir)
		}
	}
	return text.Bytes(), nil
}

// goroot is where Go itself is.
func goroot() string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
