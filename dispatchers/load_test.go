package dispatchers

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// load writes files below a new root and loads its lib and etc.
func load(t *testing.T, files map[string]string, set *Set) (*Catalog, string) {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		write(t, filepath.Join(root, name), text)
	}
	return Load(Options{
		Dirs:      []string{filepath.Join(root, "lib"), filepath.Join(root, "etc")},
		Functions: set, TrustUID: os.Geteuid(),
	}), root
}

func TestOverlay(t *testing.T) {
	c, root := load(t, map[string]string{
		"lib/only-package.toml":       `command = ["package"]`,
		"lib/replaced.toml":           "command = [\"package\"]\nmax_queue = 3",
		"etc/replaced.toml":           `command = ["admin"]`,
		"lib/masked.toml":             `command = ["package"]`,
		"etc/masked.toml":             " \n",
		"lib/masked.d/a.toml":         `max_queue = 3`,
		"etc/only-admin.toml":         `script = "true"`,
		"lib/merged.toml":             "command = [\"package\"]\nmax_queue = 1\nconcurrency = 1\n[retry]\nattempts = 1\nbackoff = 5\n[environment]\nA = \"1\"\nB = \"1\"",
		"lib/merged.d/50-b.toml":      "max_queue = 3\nconcurrency = 3",
		"lib/merged.d/10-a.toml":      "max_queue = 2\nconcurrency = 2",
		"etc/merged.d/10-z.toml":      "concurrency = 4\n[retry]\nattempts = 7\n[environment]\nB = \"2\"\nC = \"2\"",
		"etc/orphan.d/a.toml":         `max_queue = 3`,
		"etc/.hidden.toml":            `nonsense`,
		"etc/merged.toml.dpkg-dist":   `nonsense`,
		"etc/merged.toml.rpmnew":      `nonsense`,
		"etc/merged.toml.pkgnew":      `nonsense`,
		"etc/old.dpkg-old.toml":       `nonsense`,
		"etc/old.pkgnew.toml":         `nonsense`,
		"etc/merged.d/x.toml.rpmsave": `nonsense`,
		"etc/merged.d/.x.toml":        `nonsense`,
		"etc/README":                  `nonsense`,
	}, nil)
	if len(c.Faults) > 0 {
		t.Fatalf("faults: %v", c.Faults)
	}
	if got, want := c.Names(), []string{"merged", "only-admin", "only-package", "replaced"}; !slices.Equal(got, want) {
		t.Errorf("names %v, want %v", got, want)
	}
	if s := c.Specs["replaced"]; s.Command[0] != "admin" || s.MaxQueue != DefaultMaxQueue || s.Origin != filepath.Join(root, "etc/replaced.toml") {
		t.Errorf("replaced: %+v, want nothing of the package's", s)
	}
	m := c.Specs["merged"]
	want := defaults("merged")
	want.Origin, want.Command = filepath.Join(root, "lib/merged.toml"), []string{"package"}
	want.MaxQueue, want.Concurrency = 3, 4
	want.Retry = Retry{Attempts: 7, Backoff: 5 * time.Second, MaxBackoff: time.Minute}
	want.Environment = map[string]string{"A": "1", "B": "2", "C": "2"}
	for _, f := range []string{"lib/merged.d/10-a.toml", "lib/merged.d/50-b.toml", "etc/merged.d/10-z.toml"} {
		want.DropIns = append(want.DropIns, filepath.Join(root, f))
	}
	want.finish()
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
}

func TestOneBadFileDisablesOneDispatcher(t *testing.T) {
	c, root := load(t, map[string]string{
		"etc/good.toml":       `command = ["true"]`,
		"etc/bad.toml":        `comand = ["true"]`,
		"etc/bad-dropin.toml": `command = ["true"]`,
		"etc/bad-dropin.d/x.toml": `
max_queue = "x"`,
		"etc/huge.toml":  "command = [\"true\"]\n" + strings.Repeat("#", maxFile),
		"etc/dir.toml/x": "",
	}, nil)
	if len(c.Specs) != 1 || c.Specs["good"] == nil {
		t.Errorf("good ones: %v", c.Specs)
	}
	if got, want := c.Names(), []string{"bad", "bad-dropin", "dir", "good", "huge"}; !slices.Equal(got, want) {
		t.Errorf("names %v, want %v", got, want)
	}
	if f := c.Disabled["bad-dropin"][0]; f.File != filepath.Join(root, "etc/bad-dropin.d/x.toml") || f.Row != 2 || f.Key != "max_queue" {
		t.Errorf("fault of a drop-in: %+v", f)
	}
	if f := c.Disabled["huge"][0]; !strings.Contains(f.Message, "larger than 256 KiB") {
		t.Errorf("huge: %v", f)
	}
	if got := c.Nearest("goood"); got != "good" {
		t.Errorf("Nearest = %q", got)
	}
	if got := c.Nearest("something"); got != "" {
		t.Errorf("Nearest of a strange name = %q", got)
	}
}

func TestDefaults(t *testing.T) {
	c, _ := load(t, map[string]string{
		"etc/a.toml": `command = ["true"]`,
		"etc/b.toml": "script = \"true\"\ntimeout = \"1h30m\"\ndebounce = 2\nmax_output = \"2 KiB\"\numask = 0o077",
		"etc/c.toml": "command = [\"true\"]\ntimeout = 0\nqueue_timeout = 9\ndebounce = 1\ndebounce_max = 3\numask = \"0007\"",
		"etc/d.toml": "command = [\"true\"]\nretry.backoff = \"5m\"\ndebounce = \"800000h\"",
	}, nil)
	if len(c.Faults) > 0 {
		t.Fatal(c.Faults)
	}
	a, b, d := c.Specs["a"], c.Specs["b"], c.Specs["d"]
	if a.QueueTimeout != 300*time.Second || a.Coalesce || a.DebounceMax != 0 || !a.SurviveRestart || a.Umask != 0o022 {
		t.Errorf("a: %+v", a)
	}
	if b.QueueTimeout != 90*time.Minute || !b.Coalesce || b.DebounceMax != 20*time.Second || b.MaxOutput != 2048 || b.Umask != 0o077 {
		t.Errorf("b: %+v", b)
	}
	if c := c.Specs["c"]; c.Timeout != 0 || c.QueueTimeout != 9*time.Second || c.DebounceMax != 3*time.Second || c.Umask != 7 {
		t.Errorf("c: %+v", c)
	}
	if d.Retry.MaxBackoff != 5*time.Minute || d.DebounceMax < d.Debounce {
		t.Errorf("d: %+v", d)
	}
	def := b.Definition()
	if def["timeout"] != "1h30m" || def["umask"] != "0077" || def["debounce_max"] != "20s" || def["command"] != nil {
		t.Errorf("definition: %v", def)
	}
}

func TestFunctionLayers(t *testing.T) {
	set := NewSet()
	fn := func(context.Context, struct{}) (int, error) { return 0, nil }
	for _, name := range []string{"plain", "tuned", "masked", "clash"} {
		Register(set, name, fn, func(s *Spec) { s.MaxQueue, s.Concurrency = 5, 2 })
	}
	c, _ := load(t, map[string]string{
		"etc/tuned.toml":      `max_queue = 6`,
		"etc/plain.d/x.toml":  `timeout = 7`,
		"etc/masked.toml":     ``,
		"etc/clash.toml":      `command = ["true"]`,
		"etc/no-command.toml": `max_queue = 6`,
	}, set)
	if s := c.Specs["tuned"]; s == nil || !s.Function || s.MaxQueue != 6 || s.Concurrency != 2 {
		t.Errorf("tuned: %+v", s)
	}
	if s := c.Specs["plain"]; s == nil || s.Origin != "go" || s.Timeout != 7*time.Second || s.QueueTimeout != 7*time.Second {
		t.Errorf("plain: %+v", s)
	}
	if c.Specs["masked"] != nil || c.Disabled["masked"] != nil {
		t.Error("an empty file masks a function")
	}
	if c.Disabled["clash"] == nil || c.Disabled["no-command"] == nil {
		t.Errorf("disabled: %v", c.Disabled)
	}
	if set.Spec("plain").Timeout != DefaultTimeout {
		t.Error("Load changed what is registered")
	}
}

func TestOwnership(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to give files away")
	}
	const nobody = 65534
	good := map[string]string{"etc/a.toml": "script = \"true\"\npackage_includes = [\"INC\"]", "etc/a.d/x.toml": "max_queue = 1", "inc/f.sh": ""}
	for _, tc := range []struct {
		name  string
		harm  func(root string) error
		fault string // "" = none
	}{
		{"all is root's", func(string) error { return nil }, ""},
		{"file of another", func(r string) error { return os.Chown(r+"/etc/a.toml", nobody, 0) }, "belongs to user 65534"},
		{"file of the trusted user", func(r string) error { return os.Chown(r+"/etc/a.toml", 1234, 0) }, ""},
		{"file for the group", func(r string) error { return os.Chmod(r+"/etc/a.toml", 0o664) }, "written by group"},
		{"file for all", func(r string) error { return os.Chmod(r+"/etc/a.toml", 0o646) }, "mode 0646"},
		{"drop-in of another", func(r string) error { return os.Chown(r+"/etc/a.d/x.toml", nobody, 0) }, "belongs to"},
		{"drop-ins for all", func(r string) error { return os.Chmod(r+"/etc/a.d", 0o777) }, "chmod go-w"},
		{"directory for all", func(r string) error { return os.Chmod(r+"/etc", 0o777) }, "chmod go-w"},
		{"sticky is not enough for the last", func(r string) error { return os.Chmod(r+"/etc", 0o777|os.ModeSticky) }, "chmod go-w"},
		{"parent for all", func(r string) error { return os.Chmod(r, 0o777) }, "chmod go-w"},
		{"sticky parent", func(r string) error { return os.Chmod(r, 0o777|os.ModeSticky) }, ""},
		{"parent of another", func(r string) error { return os.Chown(r, nobody, 0) }, "belongs to"},
		{"include of another", func(r string) error { return os.Chown(r+"/inc/f.sh", nobody, 0) }, "package_includes[0]"},
		{"include's directory", func(r string) error { return os.Chmod(r+"/inc", 0o777) }, "package_includes[0]"},
		{"include is missing", func(r string) error { return os.Remove(r + "/inc/f.sh") }, ""},
		{"link", func(r string) error {
			return firstError(os.Rename(r+"/etc/a.toml", r+"/b"), os.Symlink(r+"/b", r+"/etc/a.toml"))
		}, "symbolic link"},
		{"pipe", func(r string) error {
			return firstError(os.Remove(r+"/etc/a.toml"), syscall.Mkfifo(r+"/etc/a.toml", 0o600))
		}, "not a regular file"},
		{"linked directory", func(r string) error {
			return firstError(os.Rename(r+"/etc", r+"/real"), os.Symlink("./inc/../real", r+"/etc"))
		}, ""},
		{"linked directory in a bad one", func(r string) error {
			return firstError(os.Mkdir(r+"/open", 0o755), os.Chmod(r+"/open", 0o777), os.Rename(r+"/etc", r+"/open/real"), os.Symlink("open/real", r+"/etc"))
		}, "open"},
		{"loop of links", func(r string) error {
			return firstError(os.Rename(r+"/etc", r+"/real"), os.Symlink("etc", r+"/etc"))
		}, "too many"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range good {
				write(t, filepath.Join(root, name), strings.ReplaceAll(text, "INC", root+"/inc/f.sh"))
			}
			if err := tc.harm(root); err != nil {
				t.Fatal(err)
			}
			c := Load(Options{Dirs: []string{root + "/etc"}, TrustUID: 1234})
			var text strings.Builder
			for _, f := range c.Faults {
				text.WriteString(f.Render() + "\n")
			}
			switch {
			case tc.fault == "" && (text.String() != "" || c.Specs["a"] == nil):
				t.Errorf("refused: %s", text.String())
			case tc.fault != "" && (c.Specs["a"] != nil || !strings.Contains(text.String(), tc.fault)):
				t.Errorf("faults %q, want %q", text.String(), tc.fault)
			}
			skipped := Load(Options{Dirs: []string{root + "/etc"}, TrustUID: 1234, SkipOwnership: true})
			if strings.Contains(tc.fault, "chmod") && skipped.Specs["a"] == nil {
				t.Errorf("SkipOwnership refused: %v", skipped.Faults)
			}
		})
	}
}

// firstError is the first error that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestHostileFiles: files as large as allowed, made to be costly, are refused
// with a bounded number of short faults; each took under half a second.
func TestHostileFiles(t *testing.T) {
	var unknown strings.Builder
	for i := 0; unknown.Len() < maxFile-20; i++ {
		unknown.WriteString("k" + strconv.Itoa(i) + "=1\n")
	}
	fill := func(s string) string { return strings.Repeat(s, (maxFile-100)/len(s)) }
	for name, text := range map[string]string{
		"unknown":  unknown.String(),
		"twice":    fill("timeout=1\n"),
		"dotted":   "a" + fill(".a") + " = 1",
		"dotted2":  fill("[a.a]\nb.c=1\n"),
		"nested":   "a = " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		"tables":   fill("[[a]]\n"),
		"inline":   "a = " + strings.Repeat("{a=", 9000) + "1" + strings.Repeat("}", 9000),
		"long":     "command = [\"" + fill("x") + "\", 5]",
		"list":     "command = [" + fill("5,") + "]",
		"longkey":  fill("k") + " = 1",
		"newlines": fill("\n") + "x",
		"escape":   "description = \"\x1b]0;x\a\"",
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := load(t, map[string]string{"etc/a.toml": text}, nil)
			if n := len(c.Faults); n == 0 || n > 2*maxFaults+2 {
				t.Errorf("%d faults", n)
			}
			for _, f := range c.Faults {
				if text := f.Render(); len(text) > 2000 || strings.ContainsAny(text, "\x1b\a") {
					t.Errorf("fault of %d bytes: %.80q", len(text), text)
				}
			}
		})
	}
}

// A directory that cannot be listed disables what those before it define: it
// may be replaced there, or masked.
func TestUnlistedDirectory(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "lib/a.toml"), `command = ["true"]`)
	write(t, filepath.Join(root, "etc"), "")
	for _, tc := range []struct {
		dirs []string
		want string // what a is
	}{
		{[]string{"lib", "etc"}, "disabled"}, {[]string{"etc", "lib"}, "good"}, {[]string{"lib"}, "good"}, {[]string{"lib", "missing"}, "good"},
	} {
		var dirs []string
		for _, d := range tc.dirs {
			dirs = append(dirs, filepath.Join(root, d))
		}
		c := Load(Options{Dirs: dirs, SkipOwnership: true})
		got := map[bool]string{true: "good", false: "disabled"}[c.Specs["a"] != nil]
		faults, broken := c.Broken("b")
		if listed := !slices.Contains(tc.dirs, "etc"); got != tc.want || broken == listed || len(c.Unlisted) == 1 == listed || (broken && faults[0].File != filepath.Join(root, "etc")) {
			t.Errorf("%q: a is %s, b is %v", tc.dirs, got, faults)
		}
	}
}
