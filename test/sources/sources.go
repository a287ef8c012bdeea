// Package sources is for tests that build the programs themselves, as they are or
// with planted faults. It tells the test cache what such a test depends on: the
// compiler that it calls is beyond the cache's sight, and go test would answer
// "ok (cached)" for a daemon that has changed since.
package sources

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Look looks at every source file of the module. It is called from a test: what
// TestMain does before it runs the tests is not noted by the cache.
func Look(t testing.TB) {
	t.Helper()
	base, looked := root(t), 0
	err := filepath.WalkDir(base, func(path string, _ fs.DirEntry, err error) error {
		if ext := filepath.Ext(path); err == nil && (ext == ".go" || ext == ".mod") {
			looked++
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil || looked < 50 {
		t.Fatalf("%d source files below %s: %v", looked, base, err)
	}
}

// root is the directory of the module.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return dir
}
