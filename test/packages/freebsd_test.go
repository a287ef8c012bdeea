//go:build packages

package packages

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// jail is a directory in which the FreeBSD package's scripts work, as in a jail
// that pkg -r installs into.
type jail struct {
	t   *testing.T
	dir string
}

// script runs one of the scripts, and gives what it says.
func (j jail) script(name string, env ...string) string {
	j.t.Helper()
	path, err := filepath.Abs("../../packaging/freebsd/" + name)
	if err != nil {
		j.t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", path)
	cmd.Env = append(env, "PKG_ROOTDIR="+j.dir, "PATH="+filepath.Join(j.dir, "stand-ins")+":/usr/bin:/bin")
	out, err := cmd.CombinedOutput()
	if err != nil {
		j.t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// write writes a file of the jail.
func (j jail) write(name, text string, mode os.FileMode) {
	j.t.Helper()
	path := filepath.Join(j.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		j.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		j.t.Fatal(err)
	}
}

// read reads one, "" where there is none.
func (j jail) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(j.dir, name))
	return string(text)
}

// TestFreeBSDScripts: a sample becomes the file once; what the admin has edited is
// never touched, and goes with no removal.
func TestFreeBSDScripts(t *testing.T) {
	j := jail{t, t.TempDir()}
	const settings, rotation = "usr/local/etc/dispatchd/dispatchd.toml", "usr/local/etc/newsyslog.conf.d/dispatchd.conf"
	install := func(version string) {
		j.write(settings+".sample", version, 0o644)
		j.write(rotation+".sample", version, 0o644)
		j.write("usr/local/etc/syslog.d/dispatchd.conf.sample", version, 0o644)
	}
	// pw knows a group once it has made it.
	j.write("stand-ins/pw", fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%[1]s/calls\ncase $3 in groupshow) test -e %[1]s/group ;; groupadd) : >%[1]s/group ;; esac\n", j.dir), 0o755)
	j.script("pre-install")
	j.script("pre-install")
	show, add := "-R "+j.dir+" groupshow dispatchd\n", "-R "+j.dir+" groupadd dispatchd\n"
	if got := j.read("calls"); got != show+add+show {
		t.Errorf("pw was called:\n%s", got)
	}
	install("one")
	j.script("post-install")
	if j.read(settings) != "one" || j.read(rotation) != "one" {
		t.Error("the samples did not become files")
	}
	j.write(settings, "edited", 0o644)
	j.script("pre-install", "PKG_UPGRADE=true")
	j.script("pre-deinstall", "PKG_UPGRADE=true")
	install("two")
	j.script("post-install", "PKG_UPGRADE=true")
	if j.read(settings) != "edited" || j.read(rotation) != "one" {
		t.Errorf("an upgrade has touched the files: %q, %q", j.read(settings), j.read(rotation))
	}
	j.write(rotation, "two", 0o644)
	j.script("pre-deinstall")
	if j.read(settings) != "edited" || j.read(rotation) != "" {
		t.Errorf("a removal has left %q and %q", j.read(settings), j.read(rotation))
	}
	if said := j.script("post-deinstall"); !strings.Contains(said, "/usr/local/etc/dispatchd is left as it is") || strings.Contains(said, "/var/db") {
		t.Errorf("a removal says:\n%s", said)
	}
}
