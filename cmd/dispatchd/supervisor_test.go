package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Without the small program the supervisor is this one with its own verb.
func TestSupervisor(t *testing.T) {
	argv, err := supervisor()
	self, _ := os.Executable()
	if err != nil || !slices.Equal(argv, []string{self, "shim"}) {
		t.Errorf("%q, %v", argv, err)
	}
	small := filepath.Join(filepath.Dir(self), shimProgram)
	if err := os.WriteFile(small, nil, 0o755); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = os.Remove(small) })
	if argv, err := supervisor(); err != nil || !slices.Equal(argv, []string{small}) {
		t.Errorf("%q, %v", argv, err)
	}
}

// Only a regular file of the same owner, that nobody else may write, is started.
func TestTrusted(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, mode := range map[string]os.FileMode{"self": 0o755, "good": 0o755, "data": 0o644, "open": 0o777, "other": 0o755} {
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(at(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("good", at("link")); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"good": true, "data": false, "open": false, "link": false, "missing": false}
	if os.Geteuid() == 0 {
		want["other"] = false
		if err := os.Chown(at("other"), 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	for name, good := range want {
		if got := trusted(at(name), at("self")); got != good {
			t.Errorf("%s: %v", name, got)
		}
	}
	if trusted(at("good"), at("missing")) {
		t.Error("trusted by a program that is gone")
	}
}
