package dispatchers

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"dispatchd/ipc"
)

// writeProgram writes a file with a mode, whatever the umask is.
func writeProgram(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	write(t, path, text)
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// loaded loads one definition and gives its faults and warnings as text.
func loaded(t *testing.T, text string, o Options) (spec *Spec, faults, warnings string) {
	t.Helper()
	dir := t.TempDir()
	writeProgram(t, filepath.Join(dir, "op.toml"), text, 0o644)
	o.Dirs, o.TrustUID = []string{dir}, os.Geteuid()
	c := Load(o)
	for _, f := range c.Faults {
		faults += f.Error() + "\n"
	}
	for _, f := range c.Warnings {
		warnings += f.Error() + "\n"
	}
	return c.Specs["op"], faults, warnings
}

// A bare name is found in the absolute directories of a PATH alone.
func TestLookPath(t *testing.T) {
	dir := t.TempDir()
	writeProgram(t, filepath.Join(dir, "here"), "", 0o755)
	writeProgram(t, filepath.Join(dir, "bin/tool"), "", 0o755)
	writeProgram(t, filepath.Join(dir, "bin/text"), "", 0o644)
	t.Chdir(dir)
	path := "/nonexistent:.::" + filepath.Join(dir, "bin")
	for name, want := range map[string]string{"/nonexistent/program": "/nonexistent/program", "tool": filepath.Join(dir, "bin/tool"), "text": "", "here": "", "bin": ""} {
		if full, err := LookPath(name, path); full != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q %v, want %q", name, full, err, want)
		}
	}
}

// What a job executes is judged as an include is: whoever could have written it is
// who the job runs as.
func TestProgramsAreJudged(t *testing.T) {
	root := t.TempDir()
	at := func(path string) string { return filepath.Join(root, path) }
	writeProgram(t, at("good/tool"), "\x7fELF", 0o755)
	writeProgram(t, at("good/open"), "\x7fELF", 0o775)
	writeProgram(t, at("wide/tool"), "\x7fELF", 0o755)
	writeProgram(t, at("wide/sub/tool"), "\x7fELF", 0o755)
	writeProgram(t, at("good/script"), "#!"+at("good/open")+" -u\n", 0o755)
	writeProgram(t, at("good/env"), "#!/usr/bin/env tool\n", 0o755)
	writeProgram(t, at("good/envs"), "#!/usr/bin/env -S A=1 tool -u\n", 0o755)
	writeProgram(t, at("good/twice"), "#! "+at("good/script")+"\n", 0o755)
	writeProgram(t, at("good/sh"), "#!/bin/sh\n", 0o755)
	for link, to := range map[string]string{"good/link": "../wide/tool", "good/absolute": at("wide/sub/tool"), "good/fine": "tool"} {
		if err := os.Symlink(to, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(at("wide"), 0o777); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct{ program, path, want string }{
		"good":                   {at("good/tool"), "", ""},
		"good link":              {at("good/fine"), "", ""},
		"good script":            {at("good/sh"), "", ""},
		"not there":              {at("good/nothing"), "", ""},
		"by name":                {"tool", at("good"), ""},
		"by name, not there":     {"nothing", at("good"), ""},
		"written by a group":     {at("good/open"), "", "good/open can be written by group or others (mode 0775)"},
		"in a directory of all":  {at("wide/tool"), "", "wide can be written by group or others (mode 0777)"},
		"below one":              {at("wide/sub/tool"), "", "wide can be written"},
		"behind a link":          {at("good/link"), "", "wide can be written"},
		"behind an absolute one": {at("good/absolute"), "", "wide can be written"},
		"its interpreter":        {at("good/script"), "", "good/open can be written"},
		"interpreter's":          {at("good/twice"), "", "good/open can be written"},
		"by name, of all":        {"tool", at("wide"), "wide can be written"},
		"env's program":          {at("good/env"), at("wide"), "wide can be written"},
		"env's with flags":       {at("good/envs"), at("wide"), "wide can be written"},
		"a later directory":      {at("good/tool"), at("good") + ":" + at("wide"), "wide can be written"},
		"a directory not there":  {at("good/tool"), at("good") + ":" + at("none"), ""},
	}
	if os.Geteuid() == 0 {
		writeProgram(t, at("home/mine"), "#!/bin/sh\n", 0o755)
		if err := errors.Join(os.Chown(at("home/mine"), 12345, 12345), os.Chown(at("home"), 12345, 12345)); err != nil {
			t.Fatal(err)
		}
		cases["another's"] = struct{ program, path, want string }{at("home/mine"), "", "home belongs to user 12345, want root"}
		cases["another's by name"] = struct{ program, path, want string }{"mine", at("home"), "home belongs to user 12345, want root"}
	}
	for name, c := range cases {
		text := "command = [" + strconv.Quote(c.program) + "]\n"
		if c.path != "" {
			text += "[environment]\nPATH = " + strconv.Quote(c.path) + "\n"
		}
		spec, faults, _ := loaded(t, text, Options{})
		if (c.want == "") != (spec != nil) || !strings.Contains(faults, c.want) {
			t.Errorf("%s: loaded %v, faults %s", name, spec != nil, faults)
		}
		if spec == nil { // as if it had been good when it was loaded
			spec, _, _ = loaded(t, text, Options{SkipOwnership: true})
		}
		full, err := LookPath(c.program, c.path)
		if err != nil {
			continue
		}
		err = spec.CheckProgram(full, c.path, os.Geteuid())
		p, typed := errors.AsType[*ipc.Error](err)
		if (c.want == "") != (err == nil) || err != nil && (!typed || p.Kind != ipc.KindDispatcherDisabled || p.Suggestion == "" || !strings.Contains(p.Detail, c.want)) {
			t.Errorf("%s: at the start: %v", name, err)
		}
	}
	if _, faults, _ := loaded(t, "command = ["+strconv.Quote(at("good/open"))+"]\n", Options{SkipOwnership: true}); faults != "" {
		t.Errorf("what is not installed is not judged: %s", faults)
	}
	if _, faults, _ := loaded(t, "command = ['tool']\n", Options{Path: at("wide")}); !strings.Contains(faults, "wide can be written") {
		t.Errorf("by the daemon's path: %s", faults)
	}
	if _, faults, _ := loaded(t, "script = 'tool'\n[environment]\nPATH = "+strconv.Quote(at("wide"))+"\n", Options{}); !strings.Contains(faults, "environment.PATH: "+at("wide")) {
		t.Errorf("a script's PATH: %s", faults)
	}
}

// The job's own user may own what the job executes, and nobody else.
func TestProgramOfTheJobsUser(t *testing.T) {
	nobody, ok := userID("nobody")
	if os.Geteuid() != 0 || !ok {
		t.Skip("needs root and a user nobody")
	}
	home := t.TempDir()
	tool := writeProgram(t, filepath.Join(home, "tool"), "#!/bin/sh\n", 0o755)
	if err := errors.Join(os.Chown(tool, nobody, -1), os.Chown(home, nobody, -1)); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]bool{"nobody": true, strconv.Itoa(nobody): true, "root": false, "nosuchuser": false, "": false} {
		text := "command = [" + strconv.Quote(tool) + "]\n"
		if user != "" {
			text += "user = " + strconv.Quote(user) + "\n"
		}
		spec, faults, _ := loaded(t, text, Options{})
		if (spec != nil) != want {
			t.Errorf("user %q: %s", user, faults)
		}
		s := &Spec{Name: "op", Command: []string{tool}, User: user}
		if err := s.CheckProgram(tool, DefaultPath, 0); (err == nil) != want {
			t.Errorf("user %q at the start: %v", user, err)
		}
	}
}

// path of dispatchd.toml is the PATH of all jobs.
func TestSettingsPathIsJudged(t *testing.T) {
	root := t.TempDir()
	wide := filepath.Join(root, "wide")
	if err := errors.Join(os.Mkdir(wide, 0o755), os.Chmod(wide, 0o777)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/usr/bin:/bin": "", "/usr/bin:" + root + "/none": "", "/usr/bin:" + wide: "wide can be written by group or others"} {
		file := writeProgram(t, filepath.Join(root, "dispatchd.toml"), "path = "+strconv.Quote(path)+"\n", 0o644)
		_, faults := LoadSettings(file)
		if got := len(faults); got != min(1, len(want)) || got > 0 && (!strings.Contains(faults[0].Message, want) || faults[0].Row != 1) {
			t.Errorf("path %s: %v", path, faults)
		}
	}
}

// What the host does not have is no fault of a definition, and is said all the same.
func TestHostIsLookedAt(t *testing.T) {
	root := t.TempDir()
	plain := writeProgram(t, filepath.Join(root, "plain"), "x", 0o644)
	lost := writeProgram(t, filepath.Join(root, "lost"), "#!/no/such/sh\n", 0o755)
	for text, want := range map[string]string{
		"command = ['/bin/sh']\nworking_directory = '/'": "",
		"command = ['sh']":                                                       "",
		"command = ['/nonexistent/prog']":                                        "op.toml:1:12: command[0]: /nonexistent/prog: no such file or directory",
		"command = ['nosuchprogram', 'x']":                                       `"nosuchprogram": not found in /usr/local/sbin:`,
		"command = ['/etc']":                                                     "/etc is no program but a directory",
		"command = ['" + plain + "']":                                            "plain is not executable (mode 0644) (chmod +x " + plain + ")",
		"command = ['" + lost + "']":                                             "the interpreter of " + lost + ": /no/such/sh: no such file",
		"script = 'x'\nworking_directory = '/etc/passwd'":                        "op.toml:2:21: working_directory: /etc/passwd is no directory",
		"script = 'x'\nworking_directory = '/no/such'":                           "working_directory: /no/such: no such file",
		"script = 'x'\nuser = 'nosuchuser'":                                      `op.toml:2:8: user: there is no user "nosuchuser" on this host`,
		"script = 'x'\nuser = '0x0'":                                             `there is no user "0x0"`,
		"script = 'x'\nuser = '4294967295'":                                      `there is no user "4294967295"`,
		"script = 'x'\ngroup = 'nosuchgroup'":                                    `there is no group "nosuchgroup"`,
		"script = 'x'\nuser = 'nobody'\ngroup = '0'":                             `group: gives user "nobody" what root's group may do`,
		"script = 'x'\nuser = 'nobody'\ngroup = 'root'":                          `what root's group may do`,
		"script = 'x'\nuser = 'root'\ngroup = '0'":                               "",
		"script = 'x'\n[cache]\ngroup = 'nosuchgroup'":                           `cache.group: there is no group "nosuchgroup"`,
		"script = 'x'\npackage_includes = ['/no/such.sh']":                       "package_includes[0]: /no/such.sh: no such file",
		"command = ['/nonexistent/prog']\nuser = 'nosuchuser'\ntimeout = 'soon'": "", // it is bad, and that is said
	} {
		spec, faults, warnings := loaded(t, text+"\n", Options{})
		if (want == "") != (warnings == "") || !strings.Contains(warnings, want) || (spec == nil) != strings.Contains(text, "soon") {
			t.Errorf("%s\nwarnings: %sfaults: %s", text, warnings, faults)
		}
	}
}

// Files that nearly are definitions are named, with what they should be called.
// Copies of editors and package managers, and what was put aside, are not.
func TestUnreadFiles(t *testing.T) {
	root := t.TempDir()
	packages, dir := filepath.Join(root, "lib"), filepath.Join(root, "etc")
	for _, name := range []string{
		"a.toml", "a.d/10.toml", "README", "README.md", ".hidden", ".b.toml.swp", "b.toml~", "#b.toml#", "b.toml.bak", "b.toml.orig", "b.toml.dpkg-new", "b.toml.rpmsave",
		"b.pkgnew.toml", "b.toml.disabled", "b.toml.sample", "a.d/20.toml~", "a.d/README",
		"x.conf", "a2.TOML", "a.toml.txt", "plain", "a.toml.d/10.toml", "typo.d/10.toml", "aa.d/10.toml", "a.d/10.conf", "a.d/sub/10.toml", "nested/b.toml", "empty.d/",
	} {
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		writeProgram(t, filepath.Join(dir, name), "script = 'x'\n", 0o644)
	}
	writeProgram(t, filepath.Join(packages, "tyop.toml"), "script = 'x'\n", 0o644)
	l, err := net.Listen("unix", filepath.Join(dir, "s.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c := Load(Options{Dirs: []string{packages, dir}, TrustUID: os.Geteuid()})
	if len(c.Faults) > 0 {
		t.Errorf("faults: %v", c.Faults)
	}
	got := map[string]string{}
	for _, f := range c.Unread {
		name, _ := filepath.Rel(dir, f.File)
		got[name] = f.Message + "|" + f.Suggestion
	}
	for name, want := range map[string]string{
		"x.conf": "did you mean x.toml?", "a2.TOML": "did you mean a2.toml?", "a.toml.txt": "did you mean a.toml?", "plain": "did you mean plain.toml?",
		"a.toml.d": "drop-ins are in a.d", "typo.d": "there is no dispatcher typo|did you mean tyop.d?", "aa.d": "there is no dispatcher aa",
		"a.d/10.conf": "did you mean 10.toml?", "a.d/sub": "put the files directly into " + filepath.Join(dir, "a.d"), "nested": "put NAME.toml directly into " + dir,
		"s.sock": "is not read: a socket",
	} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("too much is named: %v", got)
	}
}
