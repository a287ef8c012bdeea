package launch

import (
	"context"
	"errors"
	"os"
	"strings"

	"dispatchd/daemon/internal/proc/command"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// errNoDatabase says that no package database was found on this machine.
var errNoDatabase = errors.New("no package database was found (pkg, dpkg, rpm, apk)")

// Packages knows which packages are installed. Database asks the system's
// package manager; tests have a table.
type Packages interface {
	// Missing lists those of want that are not installed, in their order.
	Missing(ctx context.Context, want []string) ([]string, error)
}

// checkPackages refuses a job unless every required package is installed.
func (b *Builder) checkPackages(ctx context.Context, s *dispatchers.Spec) error {
	if len(s.RequiredPackages) == 0 {
		return nil
	}
	missing, err := b.Packages.Missing(ctx, s.RequiredPackages)
	var p *ipc.Error
	switch {
	case err != nil:
		p = ipc.Errorf(ipc.KindPackageMissing, "package %s is required, and %v", s.RequiredPackages[0], err)
		p.Suggestion = "set package_manager in dispatchd.toml"
	case len(missing) > 0:
		p = ipc.Errorf(ipc.KindPackageMissing, "package %s is required and not installed", missing[0])
		p.Suggestion = "install " + missing[0] + ", then ask again"
	default:
		return nil
	}
	p.Dispatcher = s.Name
	return p
}

// manager is a package manager: the program that answers whether a package is
// installed, how it is asked, and the file by which its database is found.
type manager struct {
	name, program, marker string
	question              []string // the package's name follows
	answer                string   // what the answer begins with; "" = the exit status is the answer
}

// managers lists the package managers that can be asked, in the order in which
// they are looked for.
func managers() []manager {
	return []manager{
		{"dpkg", "/usr/bin/dpkg-query", "/var/lib/dpkg/status", []string{"-W", "-f", "${db:Status-Abbrev}", "--"}, "ii"},
		{"pkg", "/usr/sbin/pkg", "/var/db/pkg/local.sqlite", []string{"info", "-e", "--"}, ""},
		{"apk", "/sbin/apk", "/lib/apk/db/installed", []string{"info", "-e", "--"}, ""},
		{"rpm", "/usr/bin/rpm", "/var/lib/rpm", []string{"-q", "--"}, ""},
	}
}

// Database is the package database of this machine.
type Database struct {
	manager string // as in package_manager; "", "auto" = the first that is found
	known   []manager
	run     func(ctx context.Context, argv ...string) ([]byte, error)
}

// NewDatabase is the database of a package manager: pkg, dpkg, rpm, apk, or auto
// for the one that this machine has.
func NewDatabase(manager string) *Database {
	return &Database{manager: manager, known: managers(), run: command.Output}
}

// Missing is Packages'. It runs the package manager once for each package; an
// answer that does not come within command.Output's bound counts as no.
func (d *Database) Missing(ctx context.Context, want []string) ([]string, error) {
	m, found := d.find()
	if !found {
		return nil, errNoDatabase
	}
	var missing []string
	for _, name := range want {
		argv := append([]string{m.program}, m.question...)
		out, err := d.run(ctx, append(argv, name)...)
		if err != nil || !strings.HasPrefix(string(out), m.answer) {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// find gives the manager that was set, or the first whose database is here. It
// looks each time: a package manager can itself be installed.
func (d *Database) find() (manager, bool) {
	for _, m := range d.known {
		if d.manager == m.name {
			return m, true
		}
		if _, err := os.Stat(m.marker); err == nil && (d.manager == "" || d.manager == "auto") {
			return m, true
		}
	}
	return manager{}, false
}
