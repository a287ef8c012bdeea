package daemon

import (
	"context"
	"os"
	"strings"

	"dispatchd/daemon/internal/proc/command"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

// managers are the package databases we can ask, in the order in which they
// are looked for, and the question that succeeds for an installed package.
func managers() []struct{ name, program, marker string } {
	return []struct{ name, program, marker string }{
		{"dpkg", "/usr/bin/dpkg-query", "/var/lib/dpkg/status"},
		{"pkg", "/usr/sbin/pkg", "/var/db/pkg/local.sqlite"},
		{"apk", "/sbin/apk", "/lib/apk/db/installed"},
		{"rpm", "/usr/bin/rpm", "/var/lib/rpm"},
	}
}

// requirePackages refuses a run unless every required package is installed.
func requirePackages(ctx context.Context, manager string, spec *dispatchers.Spec) error {
	name, program := findManager(manager)
	for _, pkg := range spec.RequiredPackages {
		p := ipc.Errorf(ipc.KindPackageMissing, "package %s is required and not installed", pkg)
		p.Dispatcher, p.Suggestion = spec.Name, "install "+pkg+", then ask again"
		if program == "" {
			p.Detail = "package " + pkg + " is required, and no package database was found (pkg, dpkg, rpm, apk)"
			p.Suggestion = "set package_manager in dispatchd.toml"
			return p
		}
		if !installed(ctx, name, program, pkg) {
			return p
		}
	}
	return nil
}

// findManager is the package manager that was set, or the first one here.
func findManager(want string) (name, program string) {
	for _, m := range managers() {
		if want == m.name {
			return m.name, m.program
		}
		if _, err := os.Stat(m.marker); err == nil && (want == "" || want == "auto") {
			return m.name, m.program
		}
	}
	return want, ""
}

// installed asks the package database for one package.
func installed(ctx context.Context, manager, program, pkg string) bool {
	args := map[string][]string{
		"dpkg": {program, "-W", "-f", "${db:Status-Abbrev}", "--", pkg},
		"pkg":  {program, "info", "-e", "--", pkg},
		"apk":  {program, "info", "-e", "--", pkg},
		"rpm":  {program, "-q", "--", pkg},
	}[manager]
	out, err := command.Output(ctx, args...)
	if err != nil {
		return false
	}
	return manager != "dpkg" || strings.HasPrefix(string(out), "ii")
}
