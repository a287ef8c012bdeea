package rules

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkDocs wants one package doc a folder, and a sentence for each exported
// name, that begins with the name as go doc shows it.
func checkDocs(tree []*file) []string {
	var found []string
	docs, first := map[string][]string{}, map[string]*file{}
	for _, f := range tree {
		if first[f.dir] == nil {
			first[f.dir] = f
		}
		if f.Doc != nil && f.Doc.Text() != "" {
			docs[f.dir] = append(docs[f.dir], f.path)
			found = append(found, f.packageDoc()...)
		}
		if !f.test {
			found = append(found, f.exported()...)
		}
	}
	for dir, f := range first {
		switch n := len(docs[dir]); {
		case n == 0:
			found = append(found, f.at(f.Name, "package %s has no doc: what is it for, what does it promise?", dir))
		case n > 1:
			found = append(found, f.at(f.Name, "package %s has %d docs: %s", dir, n, strings.Join(docs[dir], ", ")))
		}
	}
	return found
}

// packageDoc judges the first words of a package's doc.
func (f *file) packageDoc() []string {
	want := "Package " + strings.TrimSuffix(f.Name.Name, "_test") + " "
	if f.Name.Name == "main" {
		want = "Command "
	}
	if !strings.HasPrefix(f.Doc.Text(), want) {
		return []string{f.at(f.Doc, "the package's doc does not begin with %q", want)}
	}
	return nil
}

// exported judges the docs of all exported names of a file.
func (f *file) exported() []string {
	var found []string
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && ast.IsExported(receiver(d)) {
				found = append(found, f.sentence(d.Name, d.Doc)...)
			}
		case *ast.GenDecl:
			found = append(found, f.group(d)...)
		}
	}
	return found
}

// receiver is the type that a method belongs to; a function belongs to itself.
// Methods of types that go doc does not show need no doc.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	switch generic := t.(type) {
	case *ast.IndexExpr:
		t = generic.X
	case *ast.IndexListExpr:
		t = generic.X
	}
	return lastName(t)
}

// group judges a declaration of types, constants or variables. One doc above
// a group of values speaks for all of them.
func (f *file) group(d *ast.GenDecl) []string {
	var found []string
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				found = append(found, f.sentence(s.Name, firstDoc(s.Doc, d.Doc))...)
			}
		case *ast.ValueSpec:
			for _, name := range s.Names {
				if !name.IsExported() {
					continue
				}
				if d.Lparen == token.NoPos {
					found = append(found, f.sentence(name, firstDoc(s.Doc, d.Doc))...)
				} else if firstDoc(s.Doc, s.Comment, d.Doc) == nil {
					found = append(found, f.at(name, "%s has no doc", name.Name))
				}
			}
		}
	}
	return found
}

// sentence judges the doc of one name.
func (f *file) sentence(name *ast.Ident, doc *ast.CommentGroup) []string {
	if doc == nil || doc.Text() == "" {
		return []string{f.at(name, "%s has no doc", name.Name)}
	}
	text := strings.TrimSpace(doc.Text())
	for _, article := range []string{"A ", "An ", "The "} {
		text = strings.TrimPrefix(text, article)
	}
	rest, ok := strings.CutPrefix(text, name.Name)
	if next, _ := utf8.DecodeRuneInString(rest); !ok || unicode.IsLetter(next) || unicode.IsDigit(next) {
		return []string{f.at(name, "the doc of %s does not begin with its name", name.Name)}
	}
	if !strings.ContainsAny(text[len(text)-1:], ".:)") {
		return []string{f.at(name, "the doc of %s is not a sentence: it has no full stop", name.Name)}
	}
	return nil
}

// firstDoc is the first comment that there is.
func firstDoc(docs ...*ast.CommentGroup) *ast.CommentGroup {
	i := slices.IndexFunc(docs, func(d *ast.CommentGroup) bool { return d != nil && d.Text() != "" })
	if i < 0 {
		return nil
	}
	return docs[i]
}
