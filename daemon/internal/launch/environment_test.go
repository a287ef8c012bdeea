package launch

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dispatchd/daemon/internal/proc"
)

// Only top-level scalars of an object become variables.
func TestArgumentVariables(t *testing.T) {
	for args, want := range map[string]string{
		``:                             "",
		`null`:                         "",
		`[1,2]`:                        "",
		`"text"`:                       "",
		`{}`:                           "",
		`{"a":1,"b":"two","c":true}`:   "A=1 B=two C=true",
		`{"n":null,"f":1.0e3}`:         "F=1.0e3 N=",
		`{"list":[1],"table":{"x":1}}`: "",
		`{"a-b.c":"x","ä1":"y"}`:       "A_B_C=x _1=y",
		`{"q":"\"$(id)\"\n;"}`:         "Q=\"$(id)\"\n;",
		`{"nul":"a\u0000b","ok":"1"}`:  "OK=1 (NUL)",
		`{"a-b":1,"a_b":2,"c":3}`:      "C=3 (A_B)", // accepted by an earlier version
		`{"ä":1,"ö":2}`:                "(_)",
		`{"big":"` + strings.Repeat("x", 128<<10) + `","ok":"1"}`: "OK=1 (BIG)",
		`{"a":" \u00e9 "}`: "A= é ",
	} {
		var got []string
		for _, v := range argumentVariables(json.RawMessage(args), 1<<20) {
			if left, ok := strings.CutPrefix(v, "DISPATCHD_ARGS_OMITTED="); ok {
				got = append(got, "("+strings.ReplaceAll(left, "DISPATCHD_ARG_", "")+")")
				continue
			}
			name, ok := strings.CutPrefix(v, "DISPATCHD_ARG_")
			if !ok {
				t.Errorf("%s: %q", args, v)
			}
			got = append(got, name)
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: %q, want %q", args, text, want)
		}
	}
}

// The longest variable that a program can have is one, and a byte more is none; all
// together stay within the room that there is.
func TestArgumentBounds(t *testing.T) {
	fits := maxVariable - len("DISPATCHD_ARG_A=") - 1
	for n, want := range map[int]int{fits: 1, fits + 1: 0} {
		env := argumentVariables(json.RawMessage(`{"a":"`+strings.Repeat("x", n)+`"}`), 1<<20)
		if got := len(env) - strings.Count(strings.Join(env, "\n"), omittedVariable); got != want {
			t.Errorf("%d bytes: %d variables", n, got)
		}
		if err := exec.Command("/bin/true").Run(); err == nil {
			cmd := exec.Command("/bin/true")
			if cmd.Env = env; cmd.Run() != nil {
				t.Errorf("%d bytes: a program cannot have them", n)
			}
		}
	}
	var object []string
	for i := range 5000 {
		object = append(object, fmt.Sprintf(`"a%d":"%s"`, i, strings.Repeat("x", 100)))
	}
	env := argumentVariables(json.RawMessage("{"+strings.Join(object, ",")+"}"), 32<<10)
	size := 0
	for _, v := range env {
		size += len(v) + 9
	}
	if size > 32<<10+maxOmitted+100 || len(env) < 100 || !strings.HasSuffix(env[len(env)-1], " …") {
		t.Errorf("%d variables of %d bytes, the last is %.40q", len(env), size, env[len(env)-1])
	}
}

func TestEnvironment(t *testing.T) {
	got := Environment(Job{ID: "J", Dispatcher: "op", Attempt: 3, Origin: "notify", Arguments: json.RawMessage(`{"a":1}`)}, "", "/s")
	want := []string{
		"DISPATCHD_JOB_ID=J", "DISPATCHD_DISPATCHER=op", "DISPATCHD_ATTEMPT=3", "DISPATCHD_ORIGIN=notify",
		"DISPATCHD_SOCKET=/s", "DISPATCHD_ARGS_FILE=/dev/null", "DISPATCHD_PROGRESS_FD=3", "DISPATCHD_ARG_A=1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := Environment(Job{}, "/args", ""); !slices.Contains(got, "DISPATCHD_ARGS_FILE=/args") {
		t.Errorf("%q", got)
	}
}

// The arguments file is its user's alone, and nothing that was there before it is
// written to.
func TestWriteArguments(t *testing.T) {
	dir := t.TempDir()
	path, victim := filepath.Join(dir, "args"), filepath.Join(dir, "victim")
	if err := os.Symlink(victim, path); err != nil {
		t.Fatal(err)
	}
	cred := &proc.Credential{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	if err := WriteArguments(proc.Launch{ArgsFile: path, Credential: cred}, json.RawMessage(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Lstat(path)
	if err != nil || !fi.Mode().IsRegular() || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	if text, err := os.ReadFile(path); string(text) != `{"a":1}` || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Lstat(victim); err == nil {
		t.Error("it was written through a link")
	}
	if err := WriteArguments(proc.Launch{}, json.RawMessage(`1`)); err != nil {
		t.Errorf("without a file: %v", err)
	}
	err = WriteArguments(proc.Launch{ArgsFile: filepath.Join(dir, "none", "args")}, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "arguments file: open ") {
		t.Errorf("without a directory: %v", err)
	}
	if os.Geteuid() != 0 {
		stranger := &proc.Credential{UID: 0}
		if err := WriteArguments(proc.Launch{ArgsFile: path, Credential: stranger}, nil); err == nil {
			t.Error("a file was given to root by somebody else")
		}
	}
}

func TestRemoveFiles(t *testing.T) {
	dir := t.TempDir()
	args, data, log := filepath.Join(dir, "args"), filepath.Join(dir, "data"), filepath.Join(dir, "log")
	for _, path := range []string{args, data, log} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	RemoveFiles(proc.Launch{ArgsFile: args, DataOutput: proc.DataOutput{DataFile: data}, OutputFile: log})
	RemoveFiles(proc.Launch{})
	if left, _ := filepath.Glob(dir + "/*"); !slices.Equal(left, []string{log}) {
		t.Errorf("left %q", left)
	}
}
