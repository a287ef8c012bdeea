// Package sources tells the test cache what a test depends on that builds the
// programs itself: the compiler that it calls is beyond the cache's sight, and
// go test would answer "ok (cached)" for a daemon that has changed since.
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
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for root != "/" {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		root = filepath.Dir(root)
	}
	looked := 0
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if ext := filepath.Ext(path); err == nil && (ext == ".go" || ext == ".mod") {
			looked++
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil || looked < 50 {
		t.Fatalf("%d source files below %s: %v", looked, root, err)
	}
}
