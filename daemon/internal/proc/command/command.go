// Package command runs short programs of our own to their end and gives what
// they print: a package database that is asked, the next image of the daemon
// that says whether it could start.
//
// It is the only package that links os/exec. A job never runs so: os/exec waits
// for pipes that grandchildren hold (a timeout of 300 ms returned after 10 s).
// What runs here is killed after 10 seconds, and a second later its pipes are
// let go of.
package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"dispatchd/daemon/internal/proc"
)

const (
	timeout   = 10 * time.Second
	pipeDelay = time.Second // for grandchildren that hold the pipes
)

// Output runs a command with a small environment, and gives what it prints. It
// is killed with ctx and after 10 seconds.
func Output(ctx context.Context, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=" + os.TempDir()}
	cmd.WaitDelay = pipeDelay
	return output(cmd)
}

// TryProgram runs a program with our own environment and env, and gives what it printed
// on standard output. The error has what it said on standard error.
func TryProgram(ctx context.Context, env []string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = pipeDelay
	out, err := output(cmd)
	if failed, ok := errors.AsType[*exec.ExitError](err); ok && len(failed.Stderr) > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(failed.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

// output is cmd.Output of a program that finds no signal blocked.
func output(cmd *exec.Cmd) (out []byte, err error) {
	err = proc.Unblocked(func() (err error) {
		out, err = cmd.Output()
		return err
	})
	return out, err
}
