package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dispatchd/dispatchers"
	"dispatchd/ipc"
	"dispatchd/ipc/console"
	"dispatchd/ipc/terminal"
	"dispatchd/scheduler"
)

// checkCommand validates configuration offline.
func checkCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "check [PATH...]",
		Short: "Validate the configuration without a daemon; exit 78 when it is bad",
		Long: `check reads dispatchd.toml and every dispatcher's file and says all that is wrong, each
fault with file, row and column. A PATH is a directory of dispatchers' files, a private
root, one dispatcher's file or drop-in, or a dispatchd.toml. Who owns dispatchers' files
is checked where the daemon reads them, not elsewhere. A warning is no fault: what a good
definition names is not on this host (a command, a user, a directory), or a file is not
read though it may be meant to be. With --json each fault is an
object, a line each.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return check(cmd, f, args) },
	}
}

// report has the faults that a check found.
type report struct {
	faults         []dispatchers.Fault
	warnings       []dispatchers.Fault // exit 0 all the same
	good, disabled int
}

// check prints all faults on standard output.
func check(cmd *cobra.Command, f *flags, args []string) error {
	p := paths(f.root)
	var r report
	if len(args) == 0 {
		settings := r.settings(p.Config)
		r.catalog(dispatchers.Load(dispatchers.Options{Dirs: []string{p.Packages, p.Dispatchers}, TrustUID: os.Geteuid(), Path: settings.Path}))
		if _, err := new(scheduler.Zones).Local(); err != nil {
			r.warnings = append(r.warnings, dispatchers.Fault{File: "time zone", Message: err.Error()})
		}
	}
	for _, arg := range args {
		if err := r.path(p, absolute(arg)); err != nil {
			return err
		}
	}
	if err := printFaults(cmd.OutOrStdout(), f.json, "", r.faults); err != nil {
		return err
	}
	if err := printFaults(cmd.OutOrStdout(), f.json, "warning", r.warnings); err != nil {
		return err
	}
	if !f.quiet && !f.json {
		_ = terminal.Fprintf(cmd.ErrOrStderr(), "dispatchd check: %s; %s\n", console.Count(len(r.faults), "fault"), r.counts())
		if n := len(r.warnings); n > 0 {
			_ = terminal.Fprintf(cmd.ErrOrStderr(), "dispatchd check: %s, which make nothing bad\n", console.Count(n, "warning"))
		}
	}
	if len(r.faults) > 0 {
		return console.Code(ipc.ExitConfiguration)
	}
	return nil
}

// counts says how many dispatchers are good and bad.
func (r *report) counts() string {
	text := console.Count(r.good, "dispatcher") + " good"
	if r.disabled > 0 {
		text += fmt.Sprintf(", %d disabled", r.disabled)
	}
	return text
}

// settings adds the faults of a dispatchd.toml.
func (r *report) settings(path string) dispatchers.Settings {
	s, bad := dispatchers.LoadSettings(path)
	r.faults = append(r.faults, bad...)
	return s
}

// catalog adds the faults of a loaded catalog.
func (r *report) catalog(c *dispatchers.Catalog) {
	r.faults = append(r.faults, c.Faults...)
	r.warnings = append(append(r.warnings, c.Warnings...), c.Unread...)
	r.good += len(c.Specs)
	r.disabled += len(c.Disabled)
}

// path adds the faults of one PATH of the command line.
func (r *report) path(p ipc.Paths, path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return console.Usage("name a file or directory that is there, or none for the daemon's own", "check: %v", err)
	}
	if fi.IsDir() {
		return r.directory(p, path)
	}
	dir := filepath.Dir(path)
	name, isTOML := strings.CutSuffix(filepath.Base(path), ".toml")
	switch {
	case !isTOML:
		return console.Usage("name it NAME.toml", "check: %s is no dispatcher's file: its name does not end in .toml", path)
	case name == "dispatchd":
		r.settings(path)
	case dropIns(dir) != "":
		return r.dropIn(p, dir)
	default:
		r.file(load(p, dir), name)
	}
	return nil
}

// directory adds the faults of a directory: a private root, dispatchers' files,
// or the drop-ins of one.
func (r *report) directory(p ipc.Paths, path string) error {
	sub := filepath.Join(path, "dispatchers.d")
	switch {
	case isDir(sub):
		r.settings(filepath.Join(path, "dispatchd.toml"))
		r.catalog(load(p, filepath.Join(path, "lib", "dispatchers.d"), sub))
	case dropIns(path) != "":
		return r.dropIn(p, path)
	default:
		r.catalog(load(p, path))
	}
	return nil
}

// dropIns gives NAME for a directory NAME.d of drop-ins, and "" for any other. The
// name dispatchers.d is that of a directory of whole files.
func dropIns(dir string) string {
	name, ok := strings.CutSuffix(filepath.Base(dir), ".d")
	if !ok || name == "dispatchers" || !dispatchers.ValidName(name) {
		return ""
	}
	return name
}

// dropIn adds the faults of the dispatcher that a NAME.d changes: a drop-in means
// something only together with the file below it.
func (r *report) dropIn(p ipc.Paths, dir string) error {
	beside, name := filepath.Dir(dir), dropIns(dir)
	dirs := []string{beside}
	if beside == p.Dispatchers {
		dirs = []string{p.Packages, beside}
	}
	c := load(p, dirs...)
	if c.Specs[name] == nil && len(c.Disabled[name]) == 0 {
		return console.Usage("name the directory that has the dispatcher's file, too", "check: %s changes %s.toml, which is not in %s", dir, name, beside)
	}
	r.file(c, name)
	return nil
}

// load reads the dispatchers' files of directories, the packages' first.
func load(p ipc.Paths, dirs ...string) *dispatchers.Catalog {
	installed := slices.Contains(dirs, p.Dispatchers) || slices.Contains(dirs, p.Packages)
	return dispatchers.Load(dispatchers.Options{Dirs: dirs, TrustUID: os.Geteuid(), SkipOwnership: !installed})
}

// file adds the faults of one dispatcher of a directory.
func (r *report) file(c *dispatchers.Catalog, name string) {
	if bad := c.Disabled[name]; len(bad) > 0 {
		r.faults = append(r.faults, bad...)
		r.disabled++
	} else if spec := c.Specs[name]; spec != nil {
		r.good++
		for _, w := range c.Warnings {
			if w.File == spec.Origin || slices.Contains(spec.DropIns, w.File) {
				r.warnings = append(r.warnings, w)
			}
		}
	}
}

// isDir reports whether path is a directory.
func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// fault is a fault as JSON.
type fault struct {
	File       string `json:"file"`
	Row        int    `json:"row,omitempty"`
	Column     int    `json:"column,omitempty"`
	Key        string `json:"key,omitempty"`
	Message    string `json:"message"`
	Source     string `json:"source,omitempty"`
	Suggestion string `json:"suggestion,omitempty"`
	Level      string `json:"level,omitempty"` // warning, "" = a fault
}

// printFaults prints each fault with its line, or as an object a line.
func printFaults(w io.Writer, asJSON bool, level string, faults []dispatchers.Fault) error {
	for _, f := range faults {
		if !asJSON {
			if level != "" {
				f.Message = level + ": " + f.Message
			}
			if _, err := fmt.Fprintln(w, terminal.Text(f.Render())); err != nil {
				return err
			}
			continue
		}
		if err := terminal.EncodeJSON(w, fault{f.File, f.Row, f.Column, f.Key, f.Message, f.Source, f.Suggestion, level}); err != nil {
			return err
		}
	}
	return nil
}
