package rules

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// variables are the package-level variables that are neither sentinels nor
// patterns, as folder.name, each with its reason.
func variables() map[string]string {
	return map[string]string{
		"ipc/console.packaged":  "the linker sets it: a package knows its version, the source does not",
		"test/box.built":        "the programs are built once a process, and TestMain has no other way to tell the tests where",
		"test/crash.builtStamp": "as in test/box",
		"test/crash.opt":        "TestMain reads the flags, and has no other way to tell the tests",
		"test/power.opt":        "as in test/crash",
	}
}

// checkVariables refuses init functions and package-level variables: what
// happens before main, or is shared behind the callers' backs, cannot be tested.
func checkVariables(allowed map[string]string) func(f *file) []string {
	return func(f *file) []string {
		var found []string
		for _, decl := range f.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					found = append(found, f.at(d, "an init function: call it from where it is needed"))
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR && !embeds(d) {
					found = append(found, f.variables(d, allowed)...)
				}
			}
		}
		return found
	}
}

// variables judges one var declaration.
func (f *file) variables(d *ast.GenDecl, allowed map[string]string) []string {
	var found []string
	for _, s := range d.Specs {
		spec, ok := s.(*ast.ValueSpec)
		if !ok {
			continue
		}
		for i, name := range spec.Names {
			if name.Name == "_" || allowed[f.dir+"."+name.Name] != "" {
				continue // var _ Interface = T{} is a question to the compiler
			}
			if i < len(spec.Values) && f.constantLike(spec.Values[i]) {
				continue
			}
			found = append(found, f.at(name, "package-level variable %s: neither a sentinel nor a compiled pattern, nor in variables()", name.Name))
		}
	}
	return found
}

// constantLike reports whether a value is made once and never changes.
func (f *file) constantLike(value ast.Expr) bool {
	if f.calls(value, "errors.New", "regexp.MustCompile") {
		return true
	}
	return f.test && f.calls(value, "flag.Bool", "flag.Int", "flag.String", "flag.Duration")
}

// embeds reports whether a declaration is filled by go:embed.
func embeds(d *ast.GenDecl) bool {
	return d.Doc != nil && slices.ContainsFunc(d.Doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// checkNames refuses package names that say nothing about what is inside.
func checkNames(f *file) []string {
	var found []string
	empty := strings.Fields("util utils common helper helpers misc models shared types")
	for _, name := range []string{path.Base(f.dir), strings.TrimSuffix(f.Name.Name, "_test")} {
		if slices.Contains(empty, name) {
			return append(found, f.at(f.Name, "package %s: a package is named by what it does", name))
		}
	}
	return found
}

// checkRecover refuses recover: a crash with a clean restart beats a held lock.
// A test may look whether something panics.
func checkRecover(f *file) []string {
	var found []string
	ast.Inspect(f.File, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || f.test {
			return true
		}
		if fn, ok := call.Fun.(*ast.Ident); ok && fn.Name == "recover" {
			found = append(found, f.at(call, "recover: a crash with a clean restart beats a held lock"))
		}
		return true
	})
	return found
}

// maxLines bounds a file; what is longer is two things.
const maxLines = 600

// checkLength refuses long files.
func checkLength(f *file) []string {
	if n := f.fset.File(f.FileStart).LineCount(); n > maxLines {
		return []string{f.at(f.Name, "%d lines, a file has at most %d", n, maxLines)}
	}
	return nil
}

// longFunction is where a function gets a line in the report.
const longFunction = 60

// functions gives the length of every function, by its place.
func functions(tree []*file) map[string]int {
	lines := map[string]int{}
	for _, f := range tree {
		for _, decl := range f.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && d.Body != nil {
				lines[f.at(d, "%s", d.Name.Name)] = f.fset.Position(d.End()).Line - f.fset.Position(d.Pos()).Line + 1
			}
		}
	}
	return lines
}

// TestReport shows what the bars of the house are held against. It fails on
// nothing but a god function.
func TestReport(t *testing.T) {
	var lengths []int
	var long []string
	tree := load(t, "../..")
	for at, n := range functions(slices.DeleteFunc(slices.Clone(tree), func(f *file) bool { return f.test })) {
		lengths = append(lengths, n)
		if n > longFunction {
			long = append(long, fmt.Sprintf("%s, %d lines", at, n))
		}
		if n > 2*longFunction {
			t.Errorf("%s has %d lines", at, n)
		}
	}
	slices.Sort(lengths)
	slices.Sort(long)
	t.Logf("%d functions: median %d lines, 90th percentile %d, longest %d",
		len(lengths), lengths[len(lengths)/2], lengths[len(lengths)*9/10], lengths[len(lengths)-1])
	t.Logf("functions above %d lines: %d\n%s", longFunction, len(long), strings.Join(long, "\n"))
}
