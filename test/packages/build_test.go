//go:build packages

package packages

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"dispatchd/test/box"
)

// epoch is the time of all files in the packages that the tests build.
const epoch = "1790000000"

// build makes packages of a source tree, and gives them by their format.
func build(t *testing.T, root, version string, targets ...string) map[string]string {
	t.Helper()
	out := t.TempDir()
	cmd := exec.Command("go", append([]string{"-C", filepath.Join(root, "packaging/build"), "run", ".", "-version", version, "-out", out}, targets...)...)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+epoch)
	var said bytes.Buffer
	cmd.Stderr = &said
	printed, err := cmd.Output()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, said.String())
	}
	made := map[string]string{}
	for path := range strings.FieldsSeq(string(printed)) {
		made[strings.TrimPrefix(filepath.Ext(path), ".")] = path
	}
	if len(made) != len(targets) {
		t.Fatalf("built %q for %q", printed, targets)
	}
	return made
}

// host is the target of a format for this machine.
func host(format string) string { return format + "-" + runtime.GOARCH }

// here gives the root of the source, and tells the test cache what it has.
func here(t *testing.T) string {
	t.Helper()
	box.Look(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// copied is a copy of the source elsewhere, as another umask would make it.
func copied(t *testing.T, root string) string {
	t.Helper()
	to := t.TempDir()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(path, root)
		switch {
		case d.IsDir() && slices.Contains([]string{"/.git", "/dist", "/bin", "/box", "/test"}, rel):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(to+rel, 0o700)
		case !d.Type().IsRegular():
			return nil // .git of a worktree is a file, and in the way of nobody
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to+rel, text, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// TestPackages builds the packages for this machine and looks at them.
func TestPackages(t *testing.T) {
	root := here(t)
	targets := []string{host("deb"), host("rpm"), host("apk"), host("freebsd")}
	made := build(t, root, "1.2.3~rc4", targets...)
	other := copied(t, root)
	t.Run("twice", func(t *testing.T) {
		again := build(t, other, "1.2.3~rc4", targets...)
		for format, path := range made {
			one, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			two, err := os.ReadFile(again[format])
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(one, two) {
				t.Errorf("two builds differ: %s, %d and %d bytes", filepath.Base(path), len(one), len(two))
			}
		}
	})
	for format, look := range map[string]func(*testing.T, string){"deb": deb, "rpm": rpm, "apk": apk, "pkg": pkg} {
		t.Run(format, func(t *testing.T) { look(t, made[format]) })
	}
	t.Run("installed", func(t *testing.T) {
		need(t, "dpkg-deb")
		changed(t, filepath.Join(other, "packaging/config/dispatchd.toml"))
		next := build(t, other, "1.2.4", host("deb"), host("rpm"), host("apk"))
		t.Run("systemd", func(t *testing.T) { installed(t, made, next) })
		t.Run("bare", func(t *testing.T) { bare(t, made, next) })
	})
}

// changed adds a line to a file.
func changed(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append([]byte("# Another line of the next version.\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run is the output of a program that must do well.
func run(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(argv, " "), err, out, said.String())
	}
	return string(out)
}

// need skips a test without a program.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skip(program + " is not installed")
	}
}
