//go:build pfsense

// Package pfsense holds what packaging/pfsense and packaging/php ship against
// real PHP: the bridge alone, under a daemon, and where PFREST_SRC names a
// checkout of the REST API package and PFBOX the program that gives it a place
// to run, with its own unmodified classes. Else a stand-in of ours plays them.
package pfsense

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dispatchd/ipc"
	"dispatchd/ipc/client"
	"dispatchd/test/harness"
	"dispatchd/test/sources"
)

// source is what is shipped.
const source = "../../packaging/pfsense"

// binEnv tells the tests where TestMain built the programs.
const binEnv = "DISPATCHD_TEST_BIN"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	syscall.Umask(0o022) // definitions that a group can write are refused
	dir, err := os.MkdirTemp("", "dpf-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if out, err := sources.Build("dispatchd/cmd/...", dir); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	if err := os.Setenv(binEnv, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// program is the path of one of our programs.
func program(name string) string { return filepath.Join(os.Getenv(binEnv), name) }

// needPHP finds PHP, or skips.
func needPHP(t *testing.T) string {
	t.Helper()
	sources.Look(t)
	php, err := exec.LookPath("php")
	if err != nil {
		t.Skip("no php: install php-cli")
	}
	return php
}

// standin is the directory of our stand-in for the REST API package.
func standin(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata/standin")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// box is a private root with a daemon in it.
type box struct {
	t      *testing.T
	dir    string
	daemon *exec.Cmd
	client *client.Client
}

// newBox makes a root whose php_class runs over the stand-in, and starts the
// daemon.
func newBox(t *testing.T, files map[string]string) *box {
	t.Helper()
	php := needPHP(t)
	dir, err := os.MkdirTemp("/tmp", "dpf-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &box{t: t, dir: dir, client: &client.Client{Socket: ipc.RootPaths(dir).Socket()}}
	// What root runs is root's alone: a checkout may not be.
	b.copyTree(source, "php")
	b.copyTree("testdata/standin", "standin")
	b.write("phpwrap", fmt.Sprintf("#!/bin/sh\nexec %s -d include_path=%s/standin \"$@\"\n", php, dir))
	if err := os.Chmod(b.path("phpwrap"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.write("dispatchd.toml", fmt.Sprintf("php = %q\nphp_bridge = %q\nphp_loader = \"lazy\"\n", b.path("phpwrap"), b.path("php/bridge.php")))
	for name, text := range files {
		b.write("dispatchers.d/"+name+".toml", strings.ReplaceAll(text, "$BOX", dir))
	}
	b.start()
	t.Cleanup(b.stop)
	return b
}

func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

func (b *box) write(name, text string) {
	b.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(b.path(name)), 0o755), os.WriteFile(b.path(name), []byte(text), 0o644)); err != nil {
		b.t.Fatal(err)
	}
}

// copyTree copies a directory of the sources into the box.
func (b *box) copyTree(from, to string) {
	b.t.Helper()
	if err := os.CopyFS(b.path(to), os.DirFS(from)); err != nil {
		b.t.Fatal(err)
	}
}

// phpClient puts the PHP client beside the bridge, as the package does.
func (b *box) phpClient() {
	b.t.Helper()
	text, err := os.ReadFile("../../packaging/php/Dispatchd.php")
	if err != nil {
		b.t.Fatal(err)
	}
	b.write("php/Dispatchd.php", string(text))
}

// start starts the daemon and returns when it says that it is ready.
func (b *box) start() {
	b.t.Helper()
	b.daemon = exec.Command(program("dispatchd"), "--root", b.dir)
	harness.Start(b.t, b.daemon)
}

// stop ends the jobs and then the daemon.
func (b *box) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, state := range []ipc.State{ipc.Queued, ipc.Running} {
		jobs, _ := b.client.Jobs(ctx, ipc.JobFilter{State: state})
		for _, j := range jobs {
			_, _ = b.client.Cancel(ctx, j.ID)
		}
	}
	_, _ = b.client.Drain(ctx, true, time.Minute)
	_ = b.daemon.Process.Signal(syscall.SIGTERM)
	if err := b.daemon.Wait(); err != nil {
		b.t.Errorf("daemon: %v", err)
	}
}

// command runs a program with the box's socket, and gives its outputs and exit
// status.
func (b *box) command(argv ...string) (stdout, stderr string, code int) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), ipc.SocketEnv+"="+b.client.Socket)
	return harness.Output(b.t, cmd)
}

func (b *box) notify(name, args string) ipc.Notified {
	b.t.Helper()
	n, err := b.client.Notify(b.t.Context(), ipc.NotifyRequest{Dispatcher: name, Arguments: json.RawMessage(args)})
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *box) await(id string) ipc.Job {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	job, err := b.client.Await(ctx, id)
	if err != nil {
		b.t.Fatal(err)
	}
	return job
}

// log is the output of a job.
func (b *box) log(id string) string {
	out, _, _ := b.command(program("dispatchctl"), "log", id)
	return out
}
