package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// awks are the awks of this machine: each has its own idea of bytes and printf.
func awks(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, name := range []string{"mawk", "gawk", "original-awk", "bwk", "awk"} {
		if file, err := exec.LookPath(name); err == nil {
			found = append(found, file)
		}
	}
	if len(found) == 0 {
		t.Fatal("this machine has no awk")
	}
	return found
}

// only makes a directory with these programs alone, to be the whole PATH.
func only(t *testing.T, tools ...string) string {
	t.Helper()
	bin := t.TempDir()
	for _, tool := range tools {
		link(t, bin, tool, tool)
	}
	return bin
}

// first makes a PATH on which this awk is the awk.
func first(t *testing.T, awk string) string {
	t.Helper()
	bin := t.TempDir()
	link(t, bin, "awk", awk)
	return bin + ":/usr/local/bin:/usr/bin:/bin"
}

func link(t *testing.T, bin, name, program string) {
	t.Helper()
	file, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, filepath.Join(bin, name)); err != nil {
		t.Fatal(err)
	}
}
