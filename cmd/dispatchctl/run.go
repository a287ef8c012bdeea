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

	"dispatchd/ipc"
	"dispatchd/ipc/console"
)

// runVerb asks for a run, follows its output and waits for its end. The pfSense
// REST API calls it notifydispatcher.
func (a *app) runVerb(original bool) *cobra.Command {
	r := &request{}
	cmd := &cobra.Command{
		Use: "run NAME [JSON|-] [-- CMD...]", Short: "Ask for a run, follow its output, wait for its end",
		Long: `run asks for one run of a dispatcher, copies its output to standard output as it comes, and
ends as the job does. Ctrl-C ends this command only; the job goes on. With --json it
prints the ended job instead of the output.

For programs that used to start the operation themselves: where no daemon answers, or it
does not know the dispatcher, run becomes CMD, to which the pid file is left. --patient
waits until there is room in the queue. --timeout cancels the job when it has run so long;
where the dispatcher has no timeout, or must never be killed, that is left to it. --bound
has the job canceled when this command ends before it, by whatever: it is for callers that
kill the process to end the operation. A job that others have joined goes on.`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.names,
		RunE: func(cmd *cobra.Command, args []string) error {
			args, r.instead = splitInstead(args, cmd.ArgsLenAtDash())
			if len(args) < 1 || len(args) > 2 {
				return console.Usage("usage: "+cmd.UseLine(), "run: want a dispatcher and at most one JSON text")
			}
			if len(r.instead) > 0 && lookPath(r.instead[0]) == "" {
				return console.Usage("check its name and PATH; nothing was asked for", "run: no command %q is found", r.instead[0])
			}
			return a.run(cmd, r, args)
		},
	}
	if original {
		cmd.Use, cmd.Hidden = "notifydispatcher NAME [JSON|-] [-- CMD...]", true
	}
	r.fields.flags(cmd)
	r.keyFlag(cmd)
	r.exitStatusFlag(cmd)
	rawFlag(cmd, &r.raw)
	cmd.Flags().StringVar(&r.pidfile, "pidfile", "", "keep this command's process id in `FILE` until the job has ended")
	cmd.Flags().DurationVar(&r.timeout, "timeout", 0, "cancel the job when it has run `DUR`")
	cmd.Flags().BoolVar(&r.bound, "bound", false, "cancel the job when this command ends, or is killed, before it")
	cmd.Flags().BoolVar(&r.patient, "patient", false, "where the queue is full or the daemon drains, wait and ask again")
	return cmd
}

// splitInstead takes the command behind "--" off the words of run; dash is where
// the first "--" stood, -1 = nowhere. For callers whose NAME comes from outside it
// may stand before NAME too, so that nothing from there is an option: then a second
// one ends the words.
func splitInstead(args []string, dash int) (words, instead []string) {
	switch {
	case dash < 0:
		return args, nil
	case dash > 0:
		return args[:dash], args[dash:]
	}
	if next := slices.Index(args, "--"); next >= 0 {
		return args[:next], args[next+1:]
	}
	return args, nil
}

// run runs the verb. It writes the pid file before it asks for the job, so that a
// caller who tracks the file never finds a job without its process.
func (a *app) run(cmd *cobra.Command, r *request, args []string) error {
	if r.pidfile != "" {
		if err := writePID(r.pidfile); err != nil {
			return err
		}
		defer removePID(r.pidfile)
	}
	n, err := a.askPatiently(cmd.Context(), r, args)
	if err != nil {
		return a.execInstead(r, err)
	}
	a.onInterruptOf(n.ID)
	end := func() (ipc.Job, error) { return a.await(cmd.Context(), n.ID, 0) }
	if r.bound {
		end = a.hold(cmd.Context(), n.ID)
	}
	a.talk("%s", n.Words())
	if r.timeout > 0 {
		defer a.cancelAfter(cmd.Context(), n.ID, r.timeout)()
	}
	if !a.json {
		defer a.explainLater(cmd.Context(), n.ID)()
		if err := a.copyRun(cmd.Context(), r, n.ID); err != nil {
			return err
		}
	}
	job, err := end()
	if err != nil {
		return err
	}
	return a.ended(job, r, true)
}

// copyRun follows the output of a job that run asked for. Where standard output
// cannot be written it is not the job's concern: the wait for its end goes on, for
// with --bound the job would be canceled, and a pid file would name no process. Only
// a reader who has gone ends a run that a person looks at.
func (a *app) copyRun(ctx context.Context, r *request, id string) error {
	err := a.copyLog(ctx, id, true, r.raw)
	if gone := errors.Is(err, syscall.EPIPE); gone && !r.bound && r.pidfile == "" {
		return err
	}
	return console.Lost(a.out, err)
}

// silence is how long run waits before it explains why the job has not started.
const silence = 2 * time.Second

// explainLater prints once, after silence, why a job has not started. The function
// that it gives ends the wait for that.
func (a *app) explainLater(ctx context.Context, id string) (stop func()) {
	timer := time.AfterFunc(silence, func() {
		if job, err := a.api().Job(ctx, id); err == nil && job.State == ipc.Queued {
			a.talk("job %s has not started: it %s", id, because(job))
		}
	})
	return func() { timer.Stop() }
}

// writePID writes the pid file by a rename, so that no reader sees half of it.
func writePID(path string) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".pid-")
	if err == nil {
		_, err = fmt.Fprintln(temp, os.Getpid())
		err = errors.Join(err, temp.Chmod(0o644), temp.Close())
		if err == nil {
			err = os.Rename(temp.Name(), path)
		}
		if err != nil {
			_ = os.Remove(temp.Name())
		}
	}
	if err == nil {
		return nil
	}
	kind := ipc.KindUsage
	if errors.Is(err, fs.ErrPermission) {
		kind = ipc.KindForbidden
	}
	p := ipc.Errorf(kind, "pid file: %v", err)
	p.Suggestion = "nothing was asked for; name a file in a directory that you can write to"
	return p
}

// removePID removes the pid file if it is still this process's. What is no file any
// more, in a directory where others can write, is left alone: to read a pipe would wait
// for its writer.
func removePID(path string) {
	if fi, err := os.Lstat(path); err != nil || !fi.Mode().IsRegular() {
		return
	}
	if text, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(text)) == fmt.Sprint(os.Getpid()) {
		_ = os.Remove(path)
	}
}
