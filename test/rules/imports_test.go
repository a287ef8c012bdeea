// Package rules keeps the rules of the house: it parses the source files
// itself, so that no cached answer hides a violation.
package rules

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// only says which packages alone may import something; the reason is for who
// breaks it.
func only() []struct {
	path, reason string
	allowed      []string
} {
	return []struct {
		path, reason string
		allowed      []string
	}{
		{"os/exec", "processes are proc's", []string{"daemon/internal/proc"}},
		{"github.com/robfig/cron/v3", "its run loop loses ticks", []string{"scheduler"}},
		{"github.com/gofrs/flock", "its unlock frees inherited locks", []string{"daemon/internal/store"}},
		{"github.com/danielgtaylor/huma/v2", "HTTP is the server's", []string{"ipc/server"}},
		{"github.com/lmittmann/tint", "colours are a command's", []string{"cmd/dispatchd"}},
		{"net/http", "the nouns and the tiny client stay small", []string{"ipc/server", "ipc/client"}},
		{"dispatchd/daemon", "the daemon is embedded by programs only", []string{"cmd/dispatchd"}},
	}
}

// imports lists what the non-test files of each package import.
func imports(t *testing.T, root string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		for _, spec := range f.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			all[filepath.ToSlash(rel)] = append(all[filepath.ToSlash(rel)], name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("only %d packages found below %s", len(all), root)
	}
	return all
}

func TestImports(t *testing.T) {
	all := imports(t, "../..")
	for pkg, list := range all {
		for _, rule := range only() {
			if slices.Contains(list, rule.path) && !slices.Contains(rule.allowed, pkg) {
				t.Errorf("%s imports %s: %s", pkg, rule.path, rule.reason)
			}
		}
	}
	for _, name := range all["daemon/internal/queue"] {
		if strings.Contains(name, ".") || slices.Contains([]string{"os", "net", "io", "sync", "context", "math/rand"}, name) {
			t.Errorf("the queue imports %s: it is pure", name)
		}
	}
	for _, name := range all["cmd/dispatchctl"] {
		if strings.HasPrefix(name, "dispatchd/") && !strings.HasPrefix(name, "dispatchd/ipc") {
			t.Errorf("dispatchctl imports %s: it talks only through ipc", name)
		}
	}
}

// The tiny client reaches the standard library only, and never net/http.
func TestTinyClient(t *testing.T) {
	all := imports(t, "../..")
	seen := map[string]bool{}
	var visit func(pkg string)
	visit = func(pkg string) {
		if seen[pkg] {
			return
		}
		seen[pkg] = true
		for _, name := range all[pkg] {
			if own, ok := strings.CutPrefix(name, "dispatchd/"); ok {
				visit(own)
			} else if name == "net/http" || strings.Contains(name, ".") {
				t.Errorf("dispatch-notify reaches %s by %s", name, pkg)
			}
		}
	}
	visit("cmd/dispatch-notify")
	if len(seen) < 3 {
		t.Errorf("only %v was looked at", seen)
	}
}
