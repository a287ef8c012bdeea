package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"dispatchd/ipc"
	"dispatchd/ipc/lockfile"
)

// lockFlags are the flags of lock.
type lockFlags struct {
	shared  bool
	own     bool
	timeout time.Duration
}

// lock runs a command under the locks of the jobs. It becomes that command, and
// the locks live exactly as long as it does.
func (a *app) lock() *cobra.Command {
	var f lockFlags
	cmd := &cobra.Command{
		Use: "lock NAME... -- CMD [ARG...]", Short: "Run a command by hand under the same locks as the jobs",
		RunE: func(cmd *cobra.Command, args []string) error {
			dash := cmd.ArgsLenAtDash()
			if dash < 1 || dash >= len(args) {
				return usageError{errors.New("lock: say which locks, then --, then the command")}
			}
			return a.underLocks(cmd.Context(), f, args[:dash], args[dash:])
		},
	}
	cmd.Flags().BoolVar(&f.shared, "shared", false, "share the locks with other holders that do")
	cmd.Flags().BoolVar(&f.own, "dispatcher", false, "the names are dispatchers: take their own locks")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 0, "wait at most `DUR` (default for ever)")
	return cmd
}

// underLocks takes the locks in order of their names and becomes the command.
func (a *app) underLocks(ctx context.Context, f lockFlags, names, argv []string) error {
	path, err := lookPath(argv[0])
	if err != nil {
		return usageError{err}
	}
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	dir := filepath.Join(filepath.Dir(ipc.FindSocket(a.socket)), "locks")
	if f.own {
		dir = filepath.Join(filepath.Dir(dir), "dispatchers")
	}
	slices.Sort(names)
	holder := lockfile.Holder{PID: os.Getpid(), Command: strings.Join(argv, " ")}
	for _, name := range slices.Compact(names) {
		file, err := a.take(ctx, dir, name, f.shared, holder)
		if err != nil {
			return err
		}
		if _, err := unix.FcntlInt(file.Fd(), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("lock %s: %w", name, err)
		}
	}
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, argv, os.Environ()))
}

// take waits for one lock and says who holds it meanwhile.
func (a *app) take(ctx context.Context, dir, name string, shared bool, h lockfile.Holder) (*os.File, error) {
	file, err := lockfile.Try(dir, name, shared, h)
	busy, held := errors.AsType[*lockfile.BusyError](err)
	if !held {
		return file, err
	}
	a.talk("dispatchctl: waiting for lock %s: %v", name, busy)
	file, err = lockfile.Wait(ctx, dir, name, shared, h)
	if busy, held := errors.AsType[*lockfile.BusyError](err); held {
		return nil, ipc.Errorf(ipc.KindLocked, "lock %s: %v", name, busy)
	}
	return file, err
}

// lookPath finds the command as a shell would.
func lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		full := filepath.Join(dir, name)
		if unix.Access(full, unix.X_OK) == nil && filepath.IsAbs(full) {
			return full, nil
		}
	}
	return "", fmt.Errorf("lock: command %q is not found", name)
}
