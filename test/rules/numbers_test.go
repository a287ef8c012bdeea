package rules

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/types"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What a reader can hold in mind at once, by the plan of the middle of the
// house. The aims are 15 fields and 30 methods.
const (
	maxFields    = 20  // of a type in daemon and below
	maxMethods   = 40  // of a type in daemon and below
	productLines = 400 // of a file that is no test
	maxBack      = 10  // references from a file of a package to those above it
)

// measure is one number of the house.
type measure struct {
	what  string // "daemon.state fields"
	n     int
	bound int
	at    *file
	node  ast.Node
	list  []string // what was counted, for the report
}

// checkNumbers holds every number of the house against its bound.
func checkNumbers(tree []*file) []string {
	var found []string
	for _, m := range measures(tree) {
		if m.n > m.bound {
			found = append(found, m.at.at(m.node, "%s: %d, at most %d%s", m.what, m.n, m.bound, listed(m.list)))
		}
	}
	return found
}

// listed is a list under a complaint.
func listed(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return "\n\t" + strings.Join(list, "\n\t")
}

// measures takes all numbers of a tree.
func measures(tree []*file) []measure {
	var all []measure
	for _, f := range tree {
		if !f.test {
			all = append(all, measure{f.path + " lines", f.fset.File(f.FileStart).LineCount(), productLines, f, f.Name, nil})
		}
	}
	all = append(all, typeMeasures(tree)...)
	all = append(all, stateMeasure(tree)...)
	return append(all, backMeasures(tree)...)
}

// below reports whether a file is daemon's or a room's below it.
func (f *file) below() bool {
	return !f.test && (f.dir == "daemon" || strings.HasPrefix(f.dir, "daemon/"))
}

// typeMeasures counts the fields and methods of each type in daemon and below.
// A method that is there for two systems is one.
func typeMeasures(tree []*file) []measure {
	fields, methods := map[string]measure{}, map[string]measure{}
	for _, f := range tree {
		if !f.below() {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok {
					what := f.dir + "." + n.Name.Name + " fields"
					fields[what] = measure{what, s.Fields.NumFields(), maxFields, f, n, nil}
				}
			case *ast.FuncDecl:
				if n.Recv == nil {
					return false
				}
				what := f.dir + "." + receiverName(n) + " methods"
				m, ok := methods[what]
				if !ok {
					m = measure{what, 0, maxMethods, f, n, nil}
				}
				if !slices.Contains(m.list, n.Name.Name) {
					m.list = append(m.list, n.Name.Name)
				}
				m.n = len(m.list)
				methods[what] = m
				return false
			}
			return true
		})
	}
	all := slices.Collect(maps.Values(fields))
	for m := range maps.Values(methods) {
		m.list = nil // the names say nothing that gopls does not
		all = append(all, m)
	}
	return all
}

// receiverName is the type that a method is declared on.
func receiverName(d *ast.FuncDecl) string {
	t := d.Recv.List[0].Type
	for {
		switch e := t.(type) {
		case *ast.StarExpr:
			t = e.X
		case *ast.IndexExpr: // of a generic type
			t = e.X
		case *ast.IndexListExpr:
			t = e.X
		case *ast.Ident:
			return e.Name
		default:
			return "?"
		}
	}
}

// fileLine is a line of a package's documentation that names one of its files.
var fileLine = regexp.MustCompile(`(?m)^\t([a-z0-9_]+\.go)\b`)

// backMeasures counts, in each package whose documentation lists its files from
// top to bottom, the references that run back up: a function, method or type
// that a file uses and one above it declares, each counted once a file. daemon
// has to list its files.
func backMeasures(tree []*file) []measure {
	var all []measure
	c := checkerOf(tree)
	for _, dir := range slices.Sorted(maps.Keys(c.files)) {
		if m, ok := c.back(dir); ok {
			all = append(all, m)
		}
	}
	return all
}

// back measures one package; false where its documentation lists no files. A
// list that is not of the files that there are is measured instead.
func (c *checker) back(dir string) (measure, bool) {
	place, doc := order(c.files[dir])
	if len(place) == 0 && dir != "daemon" {
		return measure{}, false
	}
	var wrong []string
	for _, f := range c.files[dir] {
		name := path.Base(f.path)
		if !f.test && place[name] == 0 && name != "doc.go" {
			wrong = append(wrong, fmt.Sprintf("%s is not in the list of files in the package's documentation", name))
		}
		delete(place, name)
	}
	for _, name := range slices.Sorted(maps.Keys(place)) {
		wrong = append(wrong, fmt.Sprintf("%s is in the list of files, and there is none", name))
	}
	if len(wrong) > 0 {
		return measure{dir + " files out of its list", len(wrong), 0, doc, doc.Name, wrong}, true
	}
	list := c.upward(dir)
	return measure{dir + " back references", len(list), maxBack, doc, doc.Name, list}, true
}

// order gives the places of a package's files in its documentation, from 1, and
// the file where that is.
func order(files []*file) (map[string]int, *file) {
	doc := files[0]
	place := map[string]int{}
	for _, f := range files {
		if path.Base(f.path) != "doc.go" {
			continue
		}
		doc = f
		for i, line := range fileLine.FindAllStringSubmatch(f.Doc.Text(), -1) {
			place[line[1]] = i + 1
		}
	}
	return place, doc
}

// upward lists the references of a package's files to files above them.
func (c *checker) upward(dir string) []string {
	place, doc := order(c.files[dir])
	pkg := c.folder(dir)
	list := map[string]bool{}
	for _, f := range c.files[dir] {
		if f.test {
			continue
		}
		here := path.Base(f.path)
		ast.Inspect(f.File, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok || c.info.Uses[id] == nil || c.info.Uses[id].Pkg() != pkg {
				return true
			}
			obj := c.info.Uses[id]
			switch o := obj.(type) {
			case *types.Func:
			case *types.TypeName:
				if o.Parent() != pkg.Scope() {
					return true // a type parameter, or a function's own
				}
			default:
				return true
			}
			if there := path.Base(doc.fset.Position(obj.Pos()).Filename); place[there] > 0 && place[there] < place[here] {
				list[fmt.Sprintf("%s → %s: %s", here, there, obj.Name())] = true
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(list))
}

// TestNumbers shows the numbers of the house (go test -v -run TestNumbers). It
// fails on nothing: the rule "numbers" does.
func TestNumbers(t *testing.T) {
	tree := load(t, "../..")
	all := measures(tree)
	slices.SortFunc(all, func(a, b measure) int {
		return cmp.Or(cmp.Compare(float64(b.n)/float64(max(b.bound, 1)), float64(a.n)/float64(max(a.bound, 1))), cmp.Compare(a.what, b.what))
	})
	for _, m := range all {
		if back := strings.HasSuffix(m.what, " back references"); back || m.n*4 > m.bound*3 { // the aims are three quarters
			t.Logf("%3d of %3d  %s%s", m.n, m.bound, m.what, listed(m.list))
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(checkerOf(tree).files)) {
		t.Log(shares(dir, tree))
	}
}

// shares says how long a package is, how much of it are comments, and how long
// its tests are.
func shares(dir string, tree []*file) string {
	var code, comments, tests int
	for _, f := range tree {
		if f.dir != dir {
			continue
		}
		lines := f.fset.File(f.FileStart).LineCount()
		if f.test {
			tests += lines
			continue
		}
		code += lines
		for _, group := range f.Comments {
			comments += f.fset.Position(group.End()).Line - f.fset.Position(group.Pos()).Line + 1
		}
	}
	if code == 0 {
		return fmt.Sprintf("%-26s %5d lines of tests", dir, tests)
	}
	return fmt.Sprintf("%-26s %5d lines, %2d %% comments, tests %.2f of it", dir, code, 100*comments/code, float64(tests)/float64(code))
}
