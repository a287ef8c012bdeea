package sources

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Build compiles a program of the module without cgo, as it is shipped. It gives
// what the compiler says.
func Build(pkg, to string, flags ...string) ([]byte, error) {
	cmd := exec.Command("go", append(append([]string{"build", "-tags=nethttpomithttp2", "-o", to}, flags...), pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd.CombinedOutput()
}

// Patch replaces one piece of a source file: the file, from the module's root,
// the piece that is there, and what is put there.
type Patch [3]string

// Variant builds the daemon with patches. The source itself stays as it is, and
// must have each piece once: else the patch is of a source that has changed.
func Variant(t testing.TB, patches []Patch) string {
	t.Helper()
	base, dir := root(t), t.TempDir()
	replace := map[string]string{}
	for _, p := range patches {
		name, old, put := p[0], p[1], p[2]
		path := filepath.Join(base, name)
		from := path
		if replace[path] != "" {
			from = replace[path]
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), old); n != 1 {
			t.Fatalf("%s has the piece to patch %d times, want it once. The source has changed: patch it anew.\n%s", name, n, old)
		}
		replace[path] = filepath.Join(dir, strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(replace[path], []byte(strings.Replace(string(text), old, put, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "dispatchd")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := Build("dispatchd/cmd/dispatchd", program, "-overlay="+list); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// OrDefault is a flag's value, or where that is 0 the one for this length of run.
func OrDefault(n, normal, short int) int {
	switch {
	case n != 0:
		return n
	case testing.Short():
		return short
	}
	return normal
}
