//go:build packages

package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// deb looks at a Debian package.
func deb(t *testing.T, path string) {
	need(t, "dpkg-deb")
	got := map[string]os.FileMode{}
	for line := range strings.Lines(run(t, "dpkg-deb", "--contents", path)) {
		f := strings.Fields(line)
		got[strings.TrimPrefix(f[5], ".")] = parseMode(f[0])
		if f[1] != "root/root" {
			t.Errorf("%s belongs to %s", f[5], f[1])
		}
	}
	list := units(linux("vendor-completions").common())
	wanted(t, got, and(list, 0o644, "/usr/share/doc/dispatchd/copyright", "/usr/share/doc/dispatchd/changelog.gz",
		"/usr/share/doc/dispatchd/changelog.Debian.gz", "/usr/share/lintian/overrides/dispatchd"))
	if got, want := run(t, "dpkg-deb", "--info", path, "conffiles"), "/etc/dispatchd/dispatchd.toml\n/etc/dispatchd/dispatchers.d/README\n"; got != want {
		t.Errorf("conffiles %q, want %q", got, want)
	}
	if v := strings.TrimSpace(run(t, "dpkg-deb", "--field", path, "Version")); v != "1.2.3~rc4" {
		t.Errorf("version %s", v)
	}
	if v := run(t, "dpkg-deb", "--field", path, "Depends"); !strings.Contains(v, "tzdata") {
		t.Errorf("a timezone needs tzdata, it depends on %s", v)
	}
	root := t.TempDir()
	run(t, "dpkg-deb", "--extract", path, root)
	programs(t, root, "1.2.3~rc4")
	t.Run("lintian", func(t *testing.T) { lintian(t, path) })
}

// lintian has nothing to say that an override does not explain.
func lintian(t *testing.T, path string) {
	need(t, "lintian")
	// A package for no Debian at all is of no release; what is only good to
	// know is not asked for.
	out, err := exec.Command("lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", path).CombinedOutput()
	if err != nil {
		t.Errorf("lintian: %v\n%s", err, out)
	}
	overrides, err := os.ReadFile("../../packaging/deb/lintian-overrides")
	if err != nil {
		t.Fatal(err)
	}
	explained := false
	for line := range strings.Lines(string(overrides)) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "#"):
			explained = true
		case line == "":
			explained = false
		case !explained:
			t.Errorf("the override has no reason: %s", line)
		}
	}
}

// rpm looks at an rpm package.
func rpm(t *testing.T, path string) {
	need(t, "rpm")
	if out := run(t, "rpm", "--checksig", "--nosignature", path); !strings.HasSuffix(strings.TrimSpace(out), "digests OK") {
		t.Errorf("rpm --checksig: %s", out)
	}
	got := map[string]os.FileMode{}
	for line := range strings.Lines(run(t, "rpm", "-qp", "--nosignature", "--queryformat", `[%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILENAMES}\n]`, path)) {
		f := strings.Fields(line)
		name := f[3]
		if strings.HasPrefix(f[0], "d") {
			name += "/"
		}
		got[name] = parseMode(f[0])
		if f[1] != "root" || f[2] != "root" {
			t.Errorf("%s belongs to %s:%s", name, f[1], f[2])
		}
	}
	wanted(t, got, and(units(linux("site-functions").common()), 0o644, "/usr/share/doc/dispatchd/LICENSE", "/usr/share/doc/dispatchd/CHANGELOG.md"))
	if got, want := run(t, "rpm", "-qpc", "--nosignature", path), "/etc/dispatchd/dispatchd.toml\n/etc/dispatchd/dispatchers.d/README\n"; got != want {
		t.Errorf("configuration %q, want %q", got, want)
	}
	if v := run(t, "rpm", "-qp", "--nosignature", "--queryformat", "%{VERSION}-%{RELEASE} %{BUILDHOST} %{BUILDTIME}", path); v != "1.2.3~rc4-1 localhost "+epoch {
		t.Errorf("version, host and time: %s", v)
	}
	if v := run(t, "rpm", "-qp", "--nosignature", "--requires", path); !strings.Contains(v, "tzdata\n") {
		t.Errorf("a timezone needs tzdata, it requires %s", v)
	}
	for _, script := range []string{"PREIN", "POSTIN", "PREUN", "POSTUN"} {
		text := filepath.Join(t.TempDir(), script)
		if err := os.WriteFile(text, []byte(run(t, "rpm", "-qp", "--nosignature", "--queryformat", "%{"+script+"}", path)), 0o600); err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(text); err != nil || fi.Size() < 40 {
			t.Errorf("no script %s (%v)", script, err)
		}
		run(t, "sh", "-n", text)
	}
}
