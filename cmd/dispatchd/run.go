package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dispatchd/daemon"
	"dispatchd/ipc"
	"dispatchd/ipc/console"
	"dispatchd/ipc/terminal"
)

// runCommand runs one dispatcher in the foreground.
func runCommand(f *flags) *cobra.Command {
	var passExit bool
	cmd := &cobra.Command{
		Use:   "run NAME|FILE [JSON|-]",
		Short: "Run one dispatcher in the foreground, without the daemon",
		Long: `run runs a dispatcher's command here and now, under the same locks, timeout and environment
as a job of the daemon's. It waits for a lock that a job holds, and says so. Ctrl-C ends
the command. FILE is a definition that need not be installed, such as ./new.toml. The run is
nobody's job: neither the history nor dispatchctl knows of it. With --json it says on standard error, as an object, how it ended.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := runForeground(cmd, f, args)
			if err != nil && passExit && o.ExitCode > 0 {
				console.Report(cmd.ErrOrStderr(), "dispatchd", f.json, err)
				return console.Code(o.ExitCode)
			}
			if err != nil {
				return err
			}
			if err := o.report(cmd.ErrOrStderr(), f); err != nil {
				return err
			}
			if passExit && o.ExitCode > 0 {
				return console.Code(o.ExitCode)
			}
			return console.Code(o.State.ExitCode())
		},
	}
	cmd.Flags().BoolVar(&passExit, "exit-status", false, "exit with the command's own exit status; 128 and the signal's number, 126 or 127 as shells do")
	return cmd
}

// outcome is how a run in the foreground ended.
type outcome struct {
	Dispatcher string    `json:"dispatcher"`
	State      ipc.State `json:"state"`
	ExitCode   int       `json:"exit_code"`
}

// runForeground runs a dispatcher and gives its end. One that waited in vain for a
// lock has expired, as a job would have.
func runForeground(cmd *cobra.Command, f *flags, args []string) (outcome, error) {
	o := outcome{Dispatcher: args[0]}
	var raw json.RawMessage
	var err error
	if len(args) > 1 {
		if raw, err = ipc.ReadArguments(args[1], cmd.InOrStdin()); err != nil {
			return o, err
		}
	}
	talk := cmd.ErrOrStderr()
	if f.quiet || f.json {
		talk = io.Discard
	}
	cfg := daemon.Config{Paths: paths(f.root), Version: version()}
	if name, dir, ok := draft(args[0]); ok {
		o.Dispatcher = name
		// Only its own directory: what is installed neither lends it layers nor masks it.
		cfg.Paths.Dispatchers, cfg.Paths.Packages = dir, filepath.Join(dir, ".none")
	}
	o.State, o.ExitCode, err = daemon.RunForeground(cmd.Context(), cfg, o.Dispatcher, raw, talk)
	p, typed := errors.AsType[*ipc.Error](err)
	switch {
	case typed && p.Kind == ipc.KindLocked && cmd.Context().Err() != nil:
		console.Report(cmd.ErrOrStderr(), "dispatchd", f.json, ipc.Errorf(ipc.KindInterrupted, "not waiting any longer: %s; nothing was run", p.Detail))
		return o, console.Code(ipc.ExitInterrupted)
	case typed && p.Kind == ipc.KindLocked:
		expired := ipc.Errorf(ipc.KindExpired, "%s; it was not free within queue_timeout, and nothing was run", p.Detail)
		expired.Dispatcher, expired.Holder, expired.Suggestion = args[0], p.Holder, "try again later; dispatchctl locks shows who holds what"
		return o, expired
	}
	return o, err
}

// draft takes a NAME that is the path of a file, such as ./new.toml, apart: one that
// is not installed yet is tried so.
func draft(word string) (name, dir string, ok bool) {
	if !strings.Contains(word, "/") && !strings.HasSuffix(word, ".toml") {
		return "", "", false
	}
	return strings.TrimSuffix(filepath.Base(word), ".toml"), filepath.Dir(absolute(word)), true
}

// report tells how the run ended: always as JSON, in words if it did not succeed.
func (o outcome) report(w io.Writer, f *flags) error {
	if f.json {
		return terminal.EncodeJSON(w, o)
	}
	if o.State == ipc.Succeeded {
		return nil
	}
	text := string(o.State)
	if o.State == ipc.Failed {
		text += fmt.Sprintf(" with exit status %d", o.ExitCode)
	}
	return terminal.Fprintf(w, "dispatchd: %s %s\n", o.Dispatcher, text)
}
