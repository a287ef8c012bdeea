package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/apk"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	"github.com/goreleaser/nfpm/v2/rpm"
)

// What all packages say of themselves.
const (
	summary     = "runs an appliance's slow operations in the background, one at a time"
	description = `dispatchd is a resident daemon for the slow operations of a firewall, a NAS or
any other machine whose API or GUI must not block. What is asked for is queued
durably, runs as a supervised child process within bounds, on schedule, and
its output and end can be asked for afterwards. Jobs outlive a restart and an
upgrade of the daemon.`
	maintainer = "dispatchd maintainers <maintainers@dispatchd.invalid>"
	license    = "Apache-2.0"
)

// linux writes a package by nfpm and gives its path.
func (b *builder) linux(t target, entries []entry) (string, error) {
	packager, info, err := b.info(t)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		content := &files.Content{
			Source: e.from, Destination: e.to,
			FileInfo: &files.ContentFileInfo{Mode: e.mode, MTime: b.release.time, Owner: "root", Group: "root"},
		}
		switch e.kind {
		case config:
			content.Type = files.TypeConfigNoReplace
		case folder:
			content.Type = files.TypeDir
		}
		info.Contents = append(info.Contents, content)
	}
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, t.format); err != nil {
		return "", err
	}
	path := filepath.Join(b.out, packager.ConventionalFileName(info))
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	if err := packager.Package(info, f); err != nil {
		_ = f.Close()
		_ = os.Remove(path)
		return "", err
	}
	return path, f.Close()
}

// info is what nfpm is to know of a package, but for its contents.
func (b *builder) info(t target) (nfpm.Packager, *nfpm.Info, error) {
	script, err := b.scripts(t)
	if err != nil {
		return nil, nil, err
	}
	arch := t.arch
	if arch == "arm" {
		arch = "arm7"
	}
	info := &nfpm.Info{
		Name: "dispatchd", Arch: arch, Platform: "linux", Version: b.release.in(t.format), VersionSchema: "none",
		Section: "admin", Priority: "optional", Maintainer: maintainer, License: license,
		Description: description, MTime: b.release.time, DisableGlobbing: true,
	}
	switch t.format {
	case "deb":
		info.Description = summary + "\n" + description
		info.License = "" // copyright has it
		info.Deb.Compression = "xz"
		info.Depends = []string{"init-system-helpers (>= 1.54)", "tzdata"}
		info.Suggests = []string{"bash-completion"}
		info.Scripts = nfpm.Scripts{PostInstall: script("postinst"), PreRemove: script("prerm"), PostRemove: script("postrm")}
		return deb.Default, info, nil
	case "rpm":
		info.Release = "1"
		info.RPM = nfpm.RPM{BuildHost: "localhost", Summary: summary, Compression: "zstd", Group: "System Environment/Daemons"}
		info.Depends = []string{"/bin/sh", "/usr/bin/getent", "/usr/sbin/groupadd", "tzdata"}
		info.Scripts = nfpm.Scripts{PreInstall: script("pre"), PostInstall: script("post"), PreRemove: script("preun"), PostRemove: script("postun")}
		return rpm.DefaultRPM, info, nil
	case "apk":
		info.Release = "0"
		info.Description = summary
		info.Depends = []string{"/bin/sh", "tzdata"}
		info.Scripts = nfpm.Scripts{PreInstall: script("pre-install"), PostInstall: script("post-install"), PreRemove: script("pre-deinstall")}
		info.APK.Scripts = nfpm.APKScripts{PreUpgrade: script("pre-upgrade"), PostUpgrade: script("post-upgrade")}
		return apk.Default, info, nil
	}
	return nil, nil, fmt.Errorf("no format %q", t.format)
}

// scripts copies a format's scripts, with the time of the build: apk would keep
// that of the checkout. It gives a script's path by its name.
func (b *builder) scripts(t target) (func(name string) string, error) {
	from, to := filepath.Join(b.root, "packaging", t.format), filepath.Join(b.work, "scripts-"+t.String())
	files, err := os.ReadDir(from)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return nil, err
	}
	for _, f := range files {
		path := filepath.Join(to, f.Name())
		text, err := os.ReadFile(filepath.Join(from, f.Name()))
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, text, 0o755); err != nil {
			return nil, err
		}
		// Not by the umask of whoever builds.
		if err := errors.Join(os.Chmod(path, 0o755), os.Chtimes(path, b.release.time, b.release.time)); err != nil {
			return nil, err
		}
	}
	return func(name string) string { return filepath.Join(to, name) }, nil
}
