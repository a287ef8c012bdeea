//go:build packages

package packages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// system are the places of a kind of system.
type system struct{ sbin, bin, libexec, etc, lib, doc, examples, share, zsh string }

// linux and freebsd are where packages put things there.
func linux(zsh string) system {
	return system{
		sbin: "/usr/sbin", bin: "/usr/bin", libexec: "/usr/libexec/dispatchd", etc: "/etc/dispatchd", lib: "/usr/lib/dispatchd", doc: "/usr/share/doc/dispatchd",
		examples: "/usr/share/doc/dispatchd/examples", share: "/usr/share", zsh: zsh,
	}
}

func freebsd() system {
	return system{
		sbin: "/usr/local/sbin", bin: "/usr/local/bin", libexec: "/usr/local/libexec/dispatchd", etc: "/usr/local/etc/dispatchd", lib: "/usr/local/share/dispatchd",
		doc: "/usr/local/share/doc/dispatchd", examples: "/usr/local/share/examples/dispatchd", share: "/usr/local/share", zsh: "site-functions",
	}
}

// common maps each path that is in every package to its mode.
func (s system) common() map[string]os.FileMode {
	list := map[string]os.FileMode{
		s.sbin + "/dispatchd": 0o755, s.bin + "/dispatchctl": 0o755, s.bin + "/dispatch-notify": 0o755,
		s.libexec + "/dispatchd-shim":   0o755,
		s.etc + "/dispatchers.d/README": 0o644, s.lib + "/dispatchers.d/": 0o755,
		s.doc + "/third-party-notices.gz": 0o644,
		s.lib + "/php/bridge.php":         0o644, s.lib + "/php/describe.php": 0o644, s.lib + "/php/import.php": 0o644,
		s.lib + "/php/Locks.php": 0o644, s.lib + "/php/classes.php": 0o644,
		s.lib + "/php/lazy/RESTAPI/autoloader.inc": 0o644, s.lib + "/php/Dispatchd.php": 0o644,
		s.examples + "/README.md": 0o644, s.examples + "/dispatchers.d/certificates.toml": 0o644,
		s.examples + "/dispatchers.d/package-updates.toml":      0o644,
		s.share + "/dispatchd/dispatcher.schema.json":           0o644,
		s.share + "/dispatchd/dispatchd.schema.json":            0o644,
		s.share + "/bash-completion/completions/dispatchctl":    0o644,
		s.share + "/zsh/" + s.zsh + "/_dispatchctl":             0o644,
		s.share + "/fish/vendor_completions.d/dispatchctl.fish": 0o644,
	}
	for _, page := range pages() {
		list[s.share+"/man/man"+page[len(page)-1:]+"/"+page+".gz"] = 0o644
	}
	return list
}

// and adds paths with a mode.
func and(list map[string]os.FileMode, mode os.FileMode, paths ...string) map[string]os.FileMode {
	for _, path := range paths {
		list[path] = mode
	}
	return list
}

// services adds what runit and s6 are given.
func services(list map[string]os.FileMode) map[string]os.FileMode {
	examples := "/usr/share/doc/dispatchd/examples/"
	list = and(list, 0o755, examples+"runit/dispatchd/run", examples+"runit/dispatchd/finish", examples+"runit/dispatchd/check", examples+"runit/dispatchd/log/run",
		examples+"s6/dispatchd/run", examples+"s6/dispatchd/finish", examples+"s6/dispatchd/log/run")
	return and(list, 0o644, examples+"s6/dispatchd/notification-fd", examples+"s6/dispatchd/type")
}

// units adds what systemd is told.
func units(list map[string]os.FileMode) map[string]os.FileMode {
	return and(services(list), 0o644, "/etc/dispatchd/dispatchd.toml", "/usr/lib/systemd/system/dispatchd.service", "/usr/lib/systemd/system/dispatchd.socket",
		"/usr/share/doc/dispatchd/examples/systemd/hardening.conf", "/usr/lib/sysusers.d/dispatchd.conf", "/usr/lib/tmpfiles.d/dispatchd.conf")
}

// wanted holds what a package has against what it should: all files, and the
// directories that are meant to be there though they are empty.
func wanted(t *testing.T, got, want map[string]os.FileMode) {
	t.Helper()
	for path, mode := range want {
		switch is, ok := got[path]; {
		case !ok:
			t.Errorf("%s is missing", path)
		case is != mode:
			t.Errorf("%s has mode %04o, want %04o", path, is, mode)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok && !strings.HasSuffix(path, "/") {
			t.Errorf("%s is there and not wanted", path)
		}
	}
}

// programs wants those of an unpacked package to know their version.
func programs(t *testing.T, root, version string) {
	t.Helper()
	for path, want := range map[string]string{"usr/sbin/dispatchd": "dispatchd version " + version, "usr/bin/dispatchctl": "dispatchctl version " + version} {
		if got := strings.TrimSpace(run(t, filepath.Join(root, path), "--version")); got != want {
			t.Errorf("%s --version says %q, want %q", path, got, want)
		}
	}
}

// parseMode reads what ls -l says of a mode.
func parseMode(text string) os.FileMode {
	var mode os.FileMode
	for i, c := range text[1:10] {
		if c != '-' {
			mode |= 1 << (8 - i)
		}
	}
	return mode
}
