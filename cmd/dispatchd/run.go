package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"dispatchd/daemon"
	"dispatchd/ipc"
)

// runCommand runs one dispatcher in the foreground.
func runCommand(root *string) *cobra.Command {
	var passExit bool
	cmd := &cobra.Command{
		Use:   "run NAME [JSON|-]",
		Short: "Run one dispatcher in the foreground, without the daemon",
		Long: `run runs a dispatcher's command here and now, under the same locks, timeout and environment
as a job of the daemon's. It waits for a lock that a job holds, and says so.`,
		Args: usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := arguments(args[1:])
			if err != nil {
				return err
			}
			cfg := daemon.Config{Paths: paths(*root), Version: version()}
			state, code, err := daemon.RunOnce(cmd.Context(), cfg, args[0], raw, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if state != ipc.Succeeded {
				fmt.Fprintf(cmd.ErrOrStderr(), "dispatchd run: %s %s (exit status %d)\n", args[0], state, code)
			}
			if passExit && code > 0 {
				return exit(code)
			}
			if c := state.ExitCode(); c != 0 {
				return exit(c)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&passExit, "exit-status", false, "exit with the command's own exit status")
	return cmd
}

// arguments is the JSON of the command line, or of standard input for "-".
func arguments(args []string) (json.RawMessage, error) {
	if len(args) == 0 {
		return nil, nil
	}
	if args[0] != "-" {
		return json.RawMessage(args[0]), nil
	}
	raw, err := io.ReadAll(io.LimitReader(os.Stdin, 1<<20+1))
	if err == nil && len(raw) > 1<<20 {
		return nil, ipc.Errorf(ipc.KindArgumentsInvalid, "arguments on standard input are longer than 1 MiB")
	}
	return raw, err
}
