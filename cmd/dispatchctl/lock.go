package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"dispatchd/ipc"
	"dispatchd/ipc/console"
	"dispatchd/ipc/lockfile"
)

// lockFlags are the flags of lock.
type lockFlags struct {
	shared  bool
	own     bool
	inherit bool
	timeout time.Duration
}

// lockVerb runs a command under the locks of the jobs. It holds them itself and
// waits for the command alone: what the command leaves running, such as a service
// that it restarted, holds no lock. With --inherit it replaces itself by the command,
// which has the locks' descriptors then, and so has all that it starts.
func (a *app) lockVerb() *cobra.Command {
	var f lockFlags
	cmd := &cobra.Command{
		Use: "lock NAME... -- CMD [ARG...]", Short: "Run a command by hand under the same locks as the jobs",
		Long: `lock waits for named locks, says who holds them meanwhile, and runs the command. The locks
are held until the command has ended; what it leaves running holds them with --inherit
only. Signals are passed on, and the exit code is the command's: 128 + N when signal N
ended it, 127 when there is no such command, 126 when it cannot be executed. It needs no
daemon.`,
		ValidArgsFunction: a.lockNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			dash := cmd.ArgsLenAtDash()
			if dash < 1 || dash >= len(args) {
				return console.Usage("usage: "+cmd.UseLine(), "lock: say which locks, then --, then the command")
			}
			return a.runLocked(cmd.Context(), f, args[:dash], args[dash:])
		},
	}
	cmd.Flags().BoolVar(&f.shared, "shared", false, "share the locks with other holders that do")
	cmd.Flags().BoolVar(&f.own, "dispatcher", false, "the names are dispatchers: take their own locks, so that none of their jobs runs")
	cmd.Flags().BoolVar(&f.inherit, "inherit", false, "hold the locks as long as anything runs that the command started")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 0, "wait at most `DUR` for the locks (default for ever)")
	return cmd
}

// runLocked takes the locks in the order of their names, so that two commands
// cannot wait for each other, and runs the command.
func (a *app) runLocked(ctx context.Context, f lockFlags, names, argv []string) error {
	path, err := findCommand("lock", argv[0], "nothing was locked")
	if err != nil {
		return err
	}
	for _, name := range names {
		if !lockfile.ValidName(name) {
			return console.Usage("a lock's name is a letter or digit, then letters, digits and . _ : -", "lock: %q is no lock's name", name)
		}
	}
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	a.onInterrupt("", "not waiting any longer; %s was not run", argv[0])
	slices.Sort(names)
	holder := lockfile.Holder{PID: os.Getpid(), Command: strings.Join(argv, " ")}
	for _, name := range slices.Compact(names) {
		file, err := a.waitLock(ctx, f, name, holder)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		if !f.inherit {
			continue
		}
		if _, err := unix.FcntlInt(file.Fd(), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("lock %s: %w", name, err)
		}
	}
	if f.inherit {
		return cannotExec(path, syscall.Exec(path, argv, os.Environ()))
	}
	return runChild(path, argv)
}

// waitLock waits for one lock, and names its holder meanwhile.
func (a *app) waitLock(ctx context.Context, f lockFlags, name string, h lockfile.Holder) (*os.File, error) {
	dir, _ := a.lockPlace(name)
	if f.own {
		dir, _ = a.lockPlace("dispatcher:" + name)
	}
	file, err := lockfile.Try(dir, name, f.shared, h)
	busy, held := errors.AsType[*lockfile.BusyError](err)
	if !held {
		return file, lockError(dir, name, err)
	}
	a.talk("waiting for lock %s, held by %s", name, holderWords(busy))
	file, err = lockfile.Wait(ctx, dir, name, f.shared, h)
	if busy, held := errors.AsType[*lockfile.BusyError](err); held {
		p := ipc.Errorf(ipc.KindLocked, "lock %s was not free within %s: held by %s", name, f.timeout, holderWords(busy))
		p.Holder = fmt.Sprint(busy.Holder.PID)
		return nil, p
	}
	return file, lockError(dir, name, err)
}

// holderWords names the holder of a lock that is not free.
func holderWords(busy *lockfile.BusyError) string {
	h := holder{Job: busy.Holder.Job, PID: busy.Holder.PID, Command: busy.Holder.Command}
	if h.Command == "" {
		h.Command = lockfile.Command(h.PID)
	}
	return h.words()
}

// lockError adds the advice for a lock file that cannot be opened.
func lockError(dir, name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p := ipc.Errorf(ipc.KindUnavailable, "lock %s: there is no directory %s: no daemon has run there since the machine started", name, dir)
		p.Suggestion = "start dispatchd once, or name its socket by --socket or $" + ipc.SocketEnv
		return p
	case errors.Is(err, fs.ErrPermission):
		p := ipc.Errorf(ipc.KindForbidden, "lock %s: permission denied on %s", name, filepath.Join(dir, name+".lock"))
		p.Suggestion = "ask as root; a lock that a job has had is open to the socket's group too"
		return p
	}
	return err
}
