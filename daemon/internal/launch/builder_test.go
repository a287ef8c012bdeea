package launch

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dispatchd/daemon/internal/proc"
	"dispatchd/dispatchers"
	"dispatchd/ipc"
)

var update = flag.Bool("update", false, "write the golden files")

// table is a system of users for tests: accounts by "user:group".
type table map[string]Account

func (t table) Resolve(user, group string) (Account, error) {
	a, ok := t[user+":"+group]
	if !ok {
		return a, fmt.Errorf("user %s: unknown user", user)
	}
	return a, nil
}

// users are the accounts of the golden launches.
func users() table {
	return table{
		":":           {Home: "/root", Name: "root"},
		"www:backup":  {Home: "/srv/www", Name: "www", Credential: &proc.Credential{UID: 80, GID: 34, Groups: []uint32{80, 5}}},
		"www:nogroup": {Home: "/srv/www", Name: "www", Credential: &proc.Credential{UID: 80, GID: 65534, Groups: []uint32{80}}},
	}
}

// installed is a package database for tests.
type installed []string

func (i installed) Missing(_ context.Context, want []string) (missing []string, err error) {
	if i == nil {
		return nil, errNoDatabase
	}
	for _, name := range want {
		if !slices.Contains(i, name) {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// builder makes a builder whose PATH is one directory of the test's.
func builder(path string) *Builder {
	set := dispatchers.DefaultSettings()
	set.Path, set.PHP, set.PHPBridge = path, "tool", "/usr/lib/dispatchd/bridge.php"
	return &Builder{Settings: set, Socket: "/run/dispatchd/control.sock", BootID: "boot", Users: users(), Packages: installed{}, Zone: func() string { return "Asia/Tokyo" }}
}

// tool makes an executable in a directory.
func tool(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "tool")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

// definitions loads the dispatchers of testdata/launches, in which TMP is a
// directory of the test's.
func definitions(t *testing.T, tmp string) map[string]*dispatchers.Spec {
	t.Helper()
	files, err := filepath.Glob("testdata/launches/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal("no definitions", err)
	}
	dir := t.TempDir()
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.ReplaceAll(string(text), "TMP", tmp))
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	set := dispatchers.NewSet()
	dispatchers.Register(set, "function", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil })
	c := dispatchers.Load(dispatchers.Options{Dirs: []string{dir}, Functions: set, SkipOwnership: true})
	for _, f := range c.Faults {
		t.Fatal(f.Render())
	}
	return c.Specs
}

// Each definition's launch stands in a golden file, with all that its child gets.
// It is no form of the supervisor's protocol, so that this may change freely.
func TestGoldenLaunches(t *testing.T) {
	tmp := t.TempDir()
	tool(t, tmp)
	tool(t, tmp+"/other")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, spec := range definitions(t, tmp) {
		j := Job{
			ID: "01JOB", Dispatcher: name, Attempt: 2, Origin: ipc.OriginSchedule,
			Arguments: json.RawMessage(`{"who":"me","n":1.50,"deep":{"a":1}}`),
		}
		if name == "function" {
			j.Arguments = nil
		}
		l, err := builder(tmp).Build(spec, j, "/run/dispatchd/jobs/01JOB-2", Outputs{Log: "/state/01JOB.log", Data: "/cache/.part"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := strings.NewReplacer(tmp, "TMP", self, "SELF").Replace(render(l))
		path := "testdata/launches/" + name + ".golden"
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v; write it by -update", err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("%s: -golden +built\n%s", name, diff)
		}
	}
}

// render writes a launch down for people, one value a line.
func render(l proc.Launch) string {
	var b strings.Builder
	line := func(name, format string, args ...any) { fmt.Fprintf(&b, name+" "+format+"\n", args...) }
	line("job", "%s of %s, boot %s, files %s", l.Job, l.Dispatcher, l.Boot, l.Files)
	for _, arg := range l.Argv {
		line("argv", "%q", arg)
	}
	for _, variable := range l.Env {
		line("env", "%q", variable)
	}
	line("dir", "%s, umask %04o", l.Dir, l.Umask)
	if c := l.Credential; c != nil {
		line("credential", "%d:%d %v", c.UID, c.GID, c.Groups)
	}
	line("stdin", "%q", l.ArgsFile)
	line("output", "%q, at most %d bytes", l.OutputFile, l.MaxOutput)
	line("data", "%q, at most %d bytes", l.DataFile, l.MaxData)
	line("notify", "%q", l.NotifySocket)
	line("timeout", "%s, grace %s, kill_mode %s, leftovers %s", l.Timeout, l.Grace, l.KillMode, l.Leftovers)
	return b.String()
}

// A command is looked for when it is built, also where it has moved in PATH or
// has come into an earlier directory since.
func TestCommandIsResolvedAnew(t *testing.T) {
	tmp := t.TempDir()
	first, second := tmp+"/first", tmp+"/second"
	b := builder(first + ":" + second)
	spec := &dispatchers.Spec{Name: "op", Command: []string{"tool", "x"}}
	build := func() (string, error) {
		l, err := b.Build(spec, Job{}, "", Outputs{})
		return strings.Join(l.Argv, " "), err
	}
	if _, err := build(); err == nil || err.Error() != fmt.Sprintf(`command "tool": not found in %s:%s`, first, second) {
		t.Errorf("nowhere: %v", err)
	}
	old := tool(t, second)
	if got, err := build(); got != old+" x" || err != nil {
		t.Errorf("%q, %v; want %s", got, err, old)
	}
	now := tool(t, first)
	if err := os.Remove(old); err != nil {
		t.Fatal(err)
	}
	if got, err := build(); got != now+" x" || err != nil {
		t.Errorf("moved: %q, %v; want %s", got, err, now)
	}
}

// The user is resolved at each build. One that is not there is the build's error.
func TestAccountIsResolvedAnew(t *testing.T) {
	b := builder("/bin")
	people := users()
	b.Users = people
	spec := &dispatchers.Spec{Name: "op", Script: "x", User: "www", Group: "backup"}
	l, err := b.Build(spec, Job{}, "", Outputs{})
	if err != nil || !slices.Equal(l.Credential.Groups, []uint32{80, 5}) {
		t.Fatalf("%+v, %v", l.Credential, err)
	}
	people["www:backup"] = Account{Home: "/srv/www", Name: "www", Credential: &proc.Credential{UID: 80, GID: 34, Groups: []uint32{80}}}
	l, err = b.Build(spec, Job{}, "", Outputs{})
	if err != nil || !slices.Equal(l.Credential.Groups, []uint32{80}) {
		t.Errorf("after its group was revoked: %+v, %v", l.Credential, err)
	}
	delete(people, "www:backup")
	if _, err = b.Build(spec, Job{}, "", Outputs{}); err == nil || !strings.Contains(err.Error(), "user www") {
		t.Errorf("after it was removed: %v", err)
	}
}

// TZ is the zone in force, unless the definition has another; nothing of the
// daemon's environment gets to a job.
func TestEnvironmentIsTheDefinitions(t *testing.T) {
	t.Setenv("SECRET", "x")
	l, err := builder("/opt/bin").Build(&dispatchers.Spec{Script: "x"}, Job{}, "", Outputs{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"HOME=/root", "LANG=C.UTF-8", "PATH=/opt/bin", "TZ=Asia/Tokyo", "USER=root"}
	if got := l.Env[:len(want)]; !slices.Equal(got, want) {
		t.Errorf("environment begins with %q", got)
	}
	if slices.ContainsFunc(l.Env, func(s string) bool { return strings.Contains(s, "SECRET") }) {
		t.Errorf("%q", l.Env)
	}
	l, err = builder("").Build(&dispatchers.Spec{Script: "x", Environment: map[string]string{"TZ": "UTC"}}, Job{}, "", Outputs{})
	if err != nil || !slices.Contains(l.Env, "TZ=UTC") || slices.Contains(l.Env, "TZ=Asia/Tokyo") {
		t.Errorf("with a TZ of its own: %q, %v", l.Env, err)
	}
	b := builder("")
	if l, _ = b.Build(&dispatchers.Spec{Script: "x"}, Job{}, "", Outputs{}); !slices.Contains(l.Env, "PATH="+dispatchers.DefaultPath) {
		t.Errorf("without a PATH: %q", l.Env)
	}
}

// A dispatcher's problems are all that its next run would meet.
func TestProblems(t *testing.T) {
	tmp := t.TempDir()
	b := builder(tmp)
	good := tool(t, tmp)
	for _, c := range []struct {
		spec *dispatchers.Spec
		want []string
	}{
		{&dispatchers.Spec{Command: []string{"tool"}}, nil},
		{&dispatchers.Spec{Command: []string{good}}, nil},
		{&dispatchers.Spec{Command: []string{"none"}}, []string{`command "none": not found in ` + tmp}},
		{&dispatchers.Spec{Command: []string{"/none"}}, []string{"command: stat /none: no such file or directory"}},
		{
			&dispatchers.Spec{Script: "x", User: "nobody-at-all", RequiredPackages: []string{"dns"}},
			[]string{"user nobody-at-all: unknown user", "package dns is required and not installed"},
		},
		{&dispatchers.Spec{Script: "x", PackageIncludes: []string{"/none.sh"}}, []string{"include /none.sh: no such file"}},
		{&dispatchers.Spec{PHPClass: "C"}, []string{"PHP bridge /usr/lib/dispatchd/bridge.php: no such file"}},
	} {
		if got := b.Problems(t.Context(), c.spec); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.spec, got, c.want)
		}
	}
}
