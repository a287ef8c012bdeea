// Package rules keeps the rules of the house (see each rule's text below). It
// parses the source files itself: a test that asked the go command would be
// answered from the test cache, and hide what was just broken.
//
// A rule is a function over parsed files. So planted_test.go can show each rule
// small programs that break it, and a rule that stopped seeing fails there.
package rules

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the path of our own module.
const module = "dispatchd/"

// file is one parsed source file.
type file struct {
	*ast.File
	path string // from the root of the module, with slashes
	dir  string // its folder, "." for the root
	test bool   // a test, or a program below test/
	fset *token.FileSet
}

// rule is one rule of the house. The text says what holds and why.
type rule struct {
	name, text string
	check      func(tree []*file) []string
}

// each makes a rule's check of a look at one file.
func each(look func(f *file) []string) func([]*file) []string {
	return func(tree []*file) []string {
		var found []string
		for _, f := range tree {
			found = append(found, look(f)...)
		}
		return found
	}
}

// parse makes a file of source text. All files of a tree share fset.
func parse(fset *token.FileSet, name string, text any) (*file, error) {
	f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	dir := path.Dir(name)
	return &file{
		File: f, path: name, dir: dir, fset: fset,
		test: strings.HasSuffix(name, "_test.go") || dir == "test" || strings.HasPrefix(dir, "test/"),
	}, nil
}

// load parses every Go file of the module, for whatever system it is meant.
func load(t *testing.T, root string) []*file {
	t.Helper()
	var tree []*file
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(full string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(root, full, d.Name())
		}
		if !strings.HasSuffix(full, ".go") {
			return nil
		}
		text, err := os.ReadFile(full)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		f, err := parse(fset, filepath.ToSlash(name), text)
		tree = append(tree, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(tree) < 80 {
		t.Fatalf("only %d files found below %s", len(tree), root)
	}
	return tree
}

// enter skips what is no source of this module: data of tests, other modules.
func enter(root, full, name string) error {
	if full == root {
		return nil
	}
	if name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(full, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// at says what is wrong at a node.
func (f *file) at(n ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.path, f.fset.Position(n.Pos()).Line, fmt.Sprintf(format, args...))
}

// imports lists the paths that the file imports.
func (f *file) imports() []string {
	var list []string
	for _, spec := range f.Imports {
		list = append(list, importPath(spec))
	}
	return list
}

// importPath is the path of one import.
func importPath(spec *ast.ImportSpec) string {
	name, _ := strconv.Unquote(spec.Path.Value)
	return name
}

// names maps the name under which each package is used to its path.
func (f *file) names() map[string]string {
	names := map[string]string{}
	for _, spec := range f.Imports {
		p := importPath(spec)
		name := path.Base(p)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = p
	}
	return names
}

// used calls fn for each name that the file uses of another package.
func (f *file) used(fn func(sel *ast.SelectorExpr, pkg, name string)) {
	names := f.names()
	ast.Inspect(f.File, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && names[x.Name] != "" {
			fn(sel, names[x.Name], sel.Sel.Name)
		}
		return true
	})
}

// calls reports whether an expression is a call of one of these functions,
// each written as "path.Name".
func (f *file) calls(e ast.Expr, functions ...string) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && slices.Contains(functions, f.names()[x.Name]+"."+sel.Sel.Name)
}
