package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"dispatchd/ipc"
)

// checkVerb validates configuration offline. The rules are the daemon's, so
// this becomes dispatchd check.
func (a *app) checkVerb() *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use: "check [PATH...]", Short: "Validate the configuration without a daemon; exit 78 when it is bad",
		Long: `check runs "dispatchd check", the dispatchd beside this program or else in PATH. It reads
dispatchd.toml and every dispatcher's file and says all that is wrong. A PATH is a
directory of dispatchers' files, or one file.`,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := findDaemon()
			if err != nil {
				return err
			}
			argv := []string{"dispatchd", "check", "--color=" + a.color}
			if a.json {
				argv = append(argv, "--json")
			}
			if a.quiet {
				argv = append(argv, "--quiet")
			}
			if root != "" {
				argv = append(argv, "--root="+root)
			}
			argv = append(append(argv, "--"), args...)
			return fmt.Errorf("%s: %w", path, syscall.Exec(path, argv, os.Environ()))
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "check the private instance below `DIR`")
	return cmd
}

// findDaemon finds the dispatchd that belongs to this program.
func findDaemon() (string, error) {
	if self, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			self = real
		}
		beside := filepath.Join(filepath.Dir(self), "dispatchd")
		if unix.Access(beside, unix.X_OK) == nil {
			return beside, nil
		}
	}
	if path := inPath("dispatchd"); path != "" {
		return path, nil
	}
	p := ipc.Errorf(ipc.KindInternal, "dispatchd is neither beside dispatchctl nor in PATH")
	p.Suggestion = "install dispatchd, or put its directory into PATH"
	return "", p
}

// inPath looks for a program in PATH as a shell would, but in absolute
// directories only; "" if there is none.
func inPath(name string) string { return inDirs(name, os.Getenv("PATH")) }

// inDirs looks for a program in directories with colons between.
func inDirs(name, path string) string {
	for _, dir := range filepath.SplitList(path) {
		full := filepath.Join(dir, name)
		fi, err := os.Stat(full)
		if err == nil && !fi.IsDir() && filepath.IsAbs(full) && unix.Access(full, unix.X_OK) == nil {
			return full
		}
	}
	return ""
}

// lookPath finds the command that a shell would run by this name.
func lookPath(name string) string {
	if !strings.Contains(name, "/") {
		return inPath(name)
	}
	if unix.Access(name, unix.X_OK) == nil {
		return name
	}
	return ""
}
