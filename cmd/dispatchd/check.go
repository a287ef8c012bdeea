package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// checkCommand validates configuration offline.
func checkCommand(root *string) *cobra.Command {
	return &cobra.Command{
		Use:   "check [PATH...]",
		Short: "Validate the configuration without a daemon; exit 78 when it is bad",
		Long: `check reads dispatchd.toml and every dispatcher's file and says all that is wrong, each
fault with file, row and column. A PATH is a directory of dispatchers' files, or one such file.`,
		RunE: func(cmd *cobra.Command, args []string) error { return check(cmd, paths(*root), args) },
	}
}

// check prints all faults on standard output.
func check(cmd *cobra.Command, p ipc.Paths, args []string) error {
	var faults []dispatchers.Fault
	dirs := []string{p.Packages, p.Dispatchers}
	if len(args) == 0 {
		_, bad := dispatchers.LoadSettings(p.Config)
		faults = append(faults, bad...)
	} else {
		dirs = nil
		for _, arg := range args {
			dir, err := checkDir(arg)
			if err != nil {
				return err
			}
			dirs = append(dirs, dir)
		}
	}
	c := dispatchers.Load(dispatchers.Options{Dirs: dirs, TrustUID: os.Geteuid()})
	faults = append(faults, c.Faults...)
	for _, f := range faults {
		fmt.Fprintln(cmd.OutOrStdout(), f.Render())
	}
	if len(faults) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "dispatchd check: %d faults; %d dispatchers are good, %d disabled\n", len(faults), len(c.Specs), len(c.Disabled))
		return exit(ipc.ExitConfiguration)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "dispatchd check: %d dispatchers, no fault\n", len(c.Specs))
	return nil
}

// checkDir is the directory that a PATH argument means.
func checkDir(arg string) (string, error) {
	fi, err := os.Stat(arg)
	if err != nil {
		return "", usageError{fmt.Errorf("check: %w", err)}
	}
	if fi.IsDir() {
		if sub := filepath.Join(arg, "dispatchers.d"); isDir(sub) {
			return absolute(sub), nil
		}
		return absolute(arg), nil
	}
	return absolute(filepath.Dir(arg)), nil
}

// isDir reports whether path is a directory.
func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}
