// Package examples runs the dispatchers of packaging/examples: the scripts
// of the files as they are shipped, by /bin/sh, on this machine.
package examples

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"dispatchd/dispatchers"
)

const folder = "../../packaging/examples/dispatchers.d"

// example is what the tests need of a dispatcher's file.
type example struct {
	Script      string            `toml:"script"`
	Environment map[string]string `toml:"environment"`
}

func read(t *testing.T, name string) example {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, name+".toml"))
	if err != nil {
		t.Fatal(err)
	}
	var e example
	if err := toml.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// run runs the script as a job does: with a small environment, set over the one
// of the file.
func (e example) run(t *testing.T, set map[string]string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-euc", e.Script)
	env := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
	for _, more := range []map[string]string{e.Environment, set} {
		maps.Copy(env, more)
	}
	cmd.Env = []string{} // nil would be the test's own
	for name, v := range env {
		cmd.Env = append(cmd.Env, name+"="+v)
	}
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	err = cmd.Run()
	return out.String(), talk.String(), err
}

// answer runs the script and takes its data, which has these fields and no more.
func answer[T any](t *testing.T, e example, set map[string]string) T {
	t.Helper()
	out, talk, err := e.run(t, set)
	if err != nil {
		t.Fatalf("the script: %v\n%s", err, talk)
	}
	var data T
	dec := json.NewDecoder(strings.NewReader(out))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&data); err != nil {
		t.Fatalf("the data: %v\n%s", err, out)
	}
	if dec.More() {
		t.Fatalf("more than one value: %s", out)
	}
	// The readers of a cache may show it on a terminal.
	if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }); i >= 0 {
		t.Errorf("a character at %d that is no printable ASCII: %q", i, out[i:min(i+20, len(out))])
	}
	return data
}

// refused runs the script, which must fail with one sentence and no data.
func refused(t *testing.T, e example, set map[string]string, want string) {
	t.Helper()
	out, talk, err := e.run(t, set)
	if _, ended := errors.AsType[*exec.ExitError](err); !ended {
		t.Fatalf("ended with %v, want a failure\n%s", err, out)
	}
	if !strings.Contains(talk, want) || out != "" {
		t.Errorf("said %q and printed %q, want %q and nothing", talk, out, want)
	}
}

// TestDefinitions loads the files as the daemon does: no wrong key, no bad value.
func TestDefinitions(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	cat := dispatchers.Load(dispatchers.Options{Dirs: []string{dir}, TrustUID: os.Getuid()})
	if got := strings.Join(cat.Names(), " "); got != "certificates package-updates" {
		t.Errorf("found %q", got)
	}
	for _, fault := range cat.Faults {
		t.Error(fault)
	}
}

// TestScriptsAreClean has shellcheck read the scripts, and what they give to an
// inner shell.
func TestScriptsAreClean(t *testing.T) {
	shellcheck, err := exec.LookPath("shellcheck")
	if err != nil {
		t.Skip("shellcheck is not here")
	}
	texts := map[string]string{}
	for _, name := range []string{"certificates", "package-updates"} {
		texts[name] = read(t, name).Script
	}
	_, inner, _ := strings.Cut(texts["certificates"], "look='")
	inner, _, ok := strings.Cut(inner, "\n'\n")
	if !ok {
		t.Fatal("certificates has no inner script")
	}
	texts["look"] = inner
	for name, text := range texts {
		cmd := exec.CommandContext(t.Context(), shellcheck, "-s", "sh", "-")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestOneEscaping: a job is one text, so both scripts bring the JSON escaping; it
// is the same, and what a test finds in one of them holds for both.
func TestOneEscaping(t *testing.T) {
	part := func(name string) string {
		_, text, _ := strings.Cut(read(t, name).Script, "\tfunction code(")
		text, _, ok := strings.Cut(text, "\tfunction end_field(")
		if !ok {
			t.Fatalf("%s has no escaping", name)
		}
		return text
	}
	if diff := cmp.Diff(part("certificates"), part("package-updates")); diff != "" {
		t.Error(diff)
	}
}
