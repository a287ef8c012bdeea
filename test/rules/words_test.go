package rules

import (
	"go/ast"
	value "go/constant"
	"go/token"
	"go/types"
	"strings"
)

// modes is the package of the types whose values are words.
const modes = "dispatchers/mode"

// checkModes finds string literals that stand for a mode, outside the package
// of modes. A word that is misspelt there compiles, and is never equal. Tests
// may set a mode so, and not compare it.
func checkModes(tree []*file) []string {
	c := typesOf(tree)
	var found []string
	for _, f := range tree {
		if f.dir == modes {
			continue
		}
		compared := map[ast.Expr]bool{}
		ast.Inspect(f.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				compared[n.X], compared[n.Y] = true, true
				if n.Op == token.EQL || n.Op == token.NEQ {
					found = append(found, f.modeAsText(c, n.X, n.Y)...)
					found = append(found, f.modeAsText(c, n.Y, n.X)...)
				}
			case *ast.CaseClause:
				for _, e := range n.List {
					compared[e] = true
				}
			case *ast.BasicLit:
				// "" is no word: it says that none was given.
				if c.isNamed(n, modes, "") && n.Value != `""` && (compared[n] || !f.test) {
					found = append(found, f.at(n, "%s is a mode: use its constant or method in %s", n.Value, modes))
				}
			}
			return true
		})
	}
	return found
}

// modeAsText finds string(m) == "word", where m is a mode.
func (f *file) modeAsText(c *checker, x, y ast.Expr) []string {
	call, ok := x.(*ast.CallExpr)
	if _, text := y.(*ast.BasicLit); !ok || !text || len(call.Args) != 1 || !c.isNamed(call.Args[0], modes, "") {
		return nil
	}
	if fn, ok := call.Fun.(*ast.Ident); !ok || fn.Name != "string" {
		return nil
	}
	return []string{f.at(call, "a mode is compared as text: use its constant or method in %s", modes)}
}

// checkStates wants a case for each state in a switch over ipc.State, also
// beside a default: the author of a new state decides what it means there.
func checkStates(tree []*file) []string {
	c := typesOf(tree)
	states := c.states()
	var found []string
	for _, f := range tree {
		if f.test {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			s, ok := n.(*ast.SwitchStmt)
			if !ok || s.Tag == nil || !c.isNamed(s.Tag, "ipc", "State") {
				return true
			}
			has := map[string]bool{}
			for _, clause := range s.Body.List {
				for _, e := range clause.(*ast.CaseClause).List {
					if v := c.info.Types[e].Value; v != nil {
						has[value.StringVal(v)] = true
					}
				}
			}
			var lacks []string
			for _, state := range states {
				if !has[state] {
					lacks = append(lacks, state)
				}
			}
			if len(lacks) > 0 {
				found = append(found, f.at(s, "a switch over ipc.State has no case for %s", strings.Join(lacks, ", ")))
			}
			return true
		})
	}
	return found
}

// states lists the constants of type ipc.State, by name.
func (c *checker) states() []string {
	var list []string
	p := c.checked["ipc"]
	if p == nil {
		return nil
	}
	for _, name := range p.Scope().Names() {
		if k, ok := p.Scope().Lookup(name).(*types.Const); ok {
			if named, ok := types.Unalias(k.Type()).(*types.Named); ok && named.Obj().Name() == "State" {
				list = append(list, value.StringVal(k.Val()))
			}
		}
	}
	return list
}
