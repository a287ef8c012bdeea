package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// lab is where everything is measured: programs and a directory.
type lab struct {
	rounds, scale int
	rest          time.Duration
	dir           string   // of this run, removed at its end
	bin           string   // programs that somebody else built, "" = build them
	c             string   // why there are no C programs, "" = there are
	scratch       []string // directories elsewhere, removed too
}

//go:embed testdata/*.c
var programs embed.FS

// open makes the directory and puts the programs there.
func (l *lab) open(ctx context.Context) error {
	dir, err := os.MkdirTemp(l.dir, "bench-")
	if err != nil {
		return err
	}
	l.dir = dir
	apart(dir)
	if err := l.furnish(ctx); err != nil {
		l.close()
		return err
	}
	return nil
}

// furnish puts the measured programs and the floors into the directory.
func (l *lab) furnish(ctx context.Context) error {
	if err := os.Chmod(l.dir, 0o755); err != nil { // another user's daemon runs from it
		return err
	}
	if err := l.build(ctx, "dispatchd/test/bench/floor/..."); err != nil {
		return err
	}
	measured := func() error { return l.build(ctx, "dispatchd/cmd/...") }
	if l.bin != "" {
		measured = l.copyPrograms
	}
	if err := measured(); err != nil {
		return err
	}
	// The daemon gets another name, so that nobody's killall meets it.
	if err := os.Rename(l.program("dispatchd"), l.program("daemon")); err != nil {
		return err
	}
	if err := l.compile(ctx); err != nil {
		return err
	}
	return l.unload()
}

// unload has the programs read from the disk when they are first started, as a
// boot does it.
func (l *lab) unload() error {
	names, err := filepath.Glob(l.program("*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = forget(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// close removes everything.
func (l *lab) close() {
	for _, dir := range append(l.scratch, l.dir) {
		_ = os.RemoveAll(dir)
	}
}

// scaled is a usual count at the scale that was asked for, at least one.
func (l *lab) scaled(n int) int { return max(1, n*l.scale/100) }

// build builds programs of the module, as the Makefile does.
func (l *lab) build(ctx context.Context, packages string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-tags=nethttpomithttp2", "-o", l.program("")+"/", packages)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// copyPrograms takes in the programs that somebody else built: copies, for the
// daemon may run as a user who cannot see the directory.
func (l *lab) copyPrograms() error {
	names, err := filepath.Glob(filepath.Join(l.bin, "dispatch*"))
	if err != nil || len(names) == 0 {
		return fmt.Errorf("%s: no programs named dispatch*", l.bin)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(l.program(filepath.Base(name)), text, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// compile compiles the floors in C, where there is a compiler.
func (l *lab) compile(ctx context.Context) error {
	if _, err := exec.LookPath("cc"); err != nil {
		l.c = "not measured: there is no cc to build its floor in C"
		return nil //nolint:nilerr // the other figures need none
	}
	sources, err := programs.ReadDir("testdata")
	if err != nil {
		return err
	}
	for _, file := range sources {
		text, err := programs.ReadFile("testdata/" + file.Name())
		if err != nil {
			return err
		}
		src := l.program(file.Name())
		if err := os.WriteFile(src, text, 0o600); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "cc", "-O2", "-Wall", "-o", strings.TrimSuffix(src, ".c"), src).CombinedOutput(); err != nil {
			return fmt.Errorf("cc %s: %w\n%s", file.Name(), err, out)
		}
	}
	return nil
}

// program is the path of a program.
func (l *lab) program(name string) string { return filepath.Join(l.dir, "bin", name) }

// serve starts a server program, as it is prepared, and returns when its socket
// is there.
func (l *lab) serve(ctx context.Context, program, socket string, prepare func(*exec.Cmd)) (*server, error) {
	out, err := os.Create(socket + ".log")
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(l.program(program))
	cmd.Stdout, cmd.Stderr = out, out
	prepare(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := watchServer(cmd, socket)
	if err := s.await(ctx); err != nil {
		s.stop()
		text, _ := os.ReadFile(out.Name())
		return nil, fmt.Errorf("%s: %w\n%s", program, err, text)
	}
	return s, nil
}

// serveAt is serve for a floor, which is told its socket and no more.
func (l *lab) serveAt(ctx context.Context, program, name string) (*server, error) {
	socket := filepath.Join(l.dir, name)
	return l.serve(ctx, program, socket, func(cmd *exec.Cmd) { cmd.Args = append(cmd.Args, socket) })
}

// machine is the processor's name.
func machine() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}
