package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// lab is where everything is measured: built programs and a directory.
type lab struct {
	rounds, scale int
	rest          time.Duration
	dir, bin      string
	log           io.Writer
	c             string   // why there are no C programs, "" = there are
	scratch       []string // directories elsewhere
}

//go:embed testdata/*.c
var programs embed.FS

// open builds the programs and makes the directory.
func (l *lab) open(ctx context.Context) error {
	dir, err := os.MkdirTemp(l.dir, "bench-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // another user's daemon runs from it
		return err
	}
	l.dir = dir
	if l.bin == "" {
		l.bin = filepath.Join(dir, "bin")
		if err := l.build(ctx); err != nil {
			l.close()
			return err
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

// build builds the daemon and its client as the Makefile does, and the floors.
// The daemon gets another name, so that nobody's killall meets it.
func (l *lab) build(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-tags=nethttpomithttp2", "-o", l.bin+"/", "dispatchd/cmd/...", "dispatchd/test/bench/floor/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	if err := os.Rename(l.program("dispatchd"), l.program("daemon")); err != nil {
		return err
	}
	if _, err := exec.LookPath("cc"); err != nil {
		l.c = "not measured: there is no cc to build its floor in C"
		return nil //nolint:nilerr // the other figures need none
	}
	for _, name := range []string{"echo", "trip"} {
		src := filepath.Join(l.bin, name+".c")
		text, err := programs.ReadFile("testdata/" + name + ".c")
		if err != nil {
			return err
		}
		if err := os.WriteFile(src, text, 0o600); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "cc", "-O2", "-Wall", "-o", l.program(name), src).CombinedOutput(); err != nil {
			return fmt.Errorf("cc %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// program is the path of a built program.
func (l *lab) program(name string) string { return filepath.Join(l.bin, name) }

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
	s := &server{cmd: cmd, socket: socket}
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
