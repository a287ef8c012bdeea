//go:build pfsense

package pfsense

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dispatchd/dispatchers"
	"dispatchd/test/box"
)

// imports runs dispatchctl import pfsense.
func imports(t *testing.T, flags ...string) (string, int) {
	t.Helper()
	argv := append([]string{"import", "pfsense", "--php", needPHP(t), "--bridge", filepath.Join(source, "bridge.php")}, flags...)
	cmd := exec.Command(box.Program(t, "dispatchctl"), argv...)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// Classes become definitions that mean what the classes say. Files that are
// there stay.
func TestImport(t *testing.T) {
	dir := t.TempDir()
	kept := filepath.Join(dir, "EchoDispatcher.toml")
	if err := os.WriteFile(kept, []byte("command = [\"true\"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, code := imports(t, "--dir", dir, "--src", standin(t))
	if code != 0 || !strings.Contains(out, "kept      EchoDispatcher") || strings.Count(out, "imported") != 5 {
		t.Fatalf("exit %d:\n%s", code, out)
	}
	catalog := dispatchers.Load(dispatchers.Options{Dirs: []string{dir}, TrustUID: os.Geteuid(), SkipOwnership: true})
	if len(catalog.Faults) > 0 || len(catalog.Specs) != 6 {
		t.Fatalf("%d good, %v", len(catalog.Specs), catalog.Faults)
	}
	if s := catalog.Specs["EchoDispatcher"]; !slices.Equal(s.Command, []string{"true"}) {
		t.Errorf("%+v", s)
	}
	s := catalog.Specs["TypedDispatcher"]
	if s.PHPClass != `RESTAPI\Dispatchers\TypedDispatcher` || s.Timeout.Seconds() != 60 || s.MaxQueue != 2 || s.QueueTimeout != 0 ||
		!slices.Equal(s.RequiredPackages, []string{"pkg-one"}) || s.Cache != nil {
		t.Errorf("%+v", s)
	}
	if s := catalog.Specs["DataCache"]; s.Cache == nil {
		t.Errorf("%+v", s)
	}
}

// What does not compile is named and costs only itself.
func TestImportBroken(t *testing.T) {
	dir := t.TempDir()
	out, code := imports(t, "--dir", dir, "--src", "testdata/broken")
	if code != 78 || strings.Count(out, "imported") != 2 || strings.Count(out, "broken") < 6 || !strings.Contains(out, "SyntaxDispatcher.inc: syntax error") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 2 {
		t.Errorf("files %s", files)
	}
	for _, flags := range [][]string{{"--dir", dir + "/nowhere"}, {"--dir", dir, "--src", dir}, {"--php", "no-such-php"}, {"--bridge", dir + "/none"}} {
		if out, code := imports(t, flags...); code == 0 || strings.Contains(out, "Warning") {
			t.Errorf("%s: exit %d: %s", flags, code, out)
		}
	}
}
