package api

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// The names that other programs use, a line each: a change of one is seen.
func TestExportedNames(t *testing.T) {
	for _, pkg := range []string{"ipc", "ipc/client", "dispatchers", "dispatchers/mode", "scheduler", "daemon"} {
		lines := exported(t, filepath.Join("../..", pkg))
		if len(lines) < 3 {
			t.Fatalf("%s exports only %q", pkg, lines)
		}
		text := strings.Join(lines, "\n") + "\n"
		golden(t, "names/"+strings.ReplaceAll(pkg, "/", "_")+".txt", []byte(text), nil)
	}
}

// exported lists the exported names of the package in a folder, on every
// platform.
func exported(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, e.Name()), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			lines = append(lines, declared(decl)...)
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines) // the same name on two platforms is one
}

// declared lists what one declaration exports.
func declared(decl ast.Decl) []string {
	if fn, ok := decl.(*ast.FuncDecl); ok {
		if !fn.Name.IsExported() || (fn.Recv != nil && !ast.IsExported(receiver(fn.Recv.List[0].Type))) {
			return nil
		}
		sign := strings.TrimPrefix(text(fn.Type), "func")
		if fn.Recv != nil {
			return []string{fmt.Sprintf("method (%s) %s%s", text(fn.Recv.List[0].Type), fn.Name.Name, sign)}
		}
		return []string{"func " + fn.Name.Name + sign}
	}
	var lines []string
	for _, spec := range decl.(*ast.GenDecl).Specs {
		switch s := spec.(type) {
		case *ast.ValueSpec:
			lines = append(lines, values(decl.(*ast.GenDecl).Tok, s)...)
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				lines = append(lines, typed(s)...)
			}
		}
	}
	return lines
}

// values lists the exported constants or variables of a line.
func values(tok token.Token, s *ast.ValueSpec) []string {
	var lines []string
	for i, name := range s.Names {
		if !name.IsExported() {
			continue
		}
		line := tok.String() + " " + name.Name
		if s.Type != nil {
			line += " " + text(s.Type)
		}
		if tok == token.CONST && i < len(s.Values) {
			line += " = " + text(s.Values[i])
		}
		lines = append(lines, line)
	}
	return lines
}

// typed lists a type with its exported fields and methods.
func typed(s *ast.TypeSpec) []string {
	switch typ := s.Type.(type) {
	case *ast.StructType:
		return append([]string{"type " + s.Name.Name + " struct"}, members("field "+s.Name.Name, typ.Fields)...)
	case *ast.InterfaceType:
		return append([]string{"type " + s.Name.Name + " interface"}, members("method "+s.Name.Name, typ.Methods)...)
	}
	if s.Assign.IsValid() {
		return []string{"type " + s.Name.Name + " = " + text(s.Type)}
	}
	return []string{"type " + s.Name.Name + " " + text(s.Type)}
}

// members lists exported fields or methods.
func members(of string, list *ast.FieldList) []string {
	var lines []string
	for _, f := range list.List {
		line := " " + text(f.Type)
		if f.Tag != nil {
			line += " " + f.Tag.Value
		}
		name := strings.TrimPrefix(text(f.Type), "*")
		if base := name[strings.LastIndex(name, ".")+1:]; len(f.Names) == 0 && !unicode.IsLower(rune(base[0])) {
			lines = append(lines, of+"."+name+line) // embedded
		}
		for _, name := range f.Names {
			if name.IsExported() {
				lines = append(lines, of+"."+name.Name+line)
			}
		}
	}
	return lines
}

// receiver is the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// text is source in one line.
func text(node ast.Node) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, token.NewFileSet(), node); err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// What the list is made of is seen in it.
func TestDeclared(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "x.go", `package x
const A, b Kind = "a", "b"
var C = 1
type D struct { E int `+"`json:\"e\"`"+`; f int; *G }
type H interface { I(int) error; j() }
type k struct{}
type L = string
type M[T any] []T
func N[T any](t T) (int, error) { return 0, nil }
func (d *D) O() {}
func (k) P() {}
func (m M[T]) Q(x ...T) {}
func r() {}
`, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, decl := range f.Decls {
		got = append(got, declared(decl)...)
	}
	want := []string{
		`const A Kind = "a"`, "var C", "type D struct", "field D.E int `json:\"e\"`", "field D.G *G", "type H interface", "method H.I func(int) error",
		"type L = string", "type M []T", "func N[T any](t T) (int, error)", "method (*D) O()", "method (M[T]) Q(x ...T)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
